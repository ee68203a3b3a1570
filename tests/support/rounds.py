"""Rounds of processes that start the same work at the same moment and must leave one intact result and one message.

    python -m tests.support.rounds workers FOLDER ROUNDS 2     workers at one stage
    python -m tests.support.rounds breakers FOLDER ROUNDS 6    processes that find one token of a process that has ended
    python -m tests.support.rounds sweeps FOLDER ROUNDS 2      the same sweep, several times

Processes are forked from this one, which has imported all, so that a round is cheap. Prints what was not good, and how
many rounds were; exit status 1 if any was not. LD_PRELOAD as the caller likes, for locks that do not lock.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from sweep.claims.claim import TOKEN, claimed
from sweep.claims.holder import holder_text, this_process
from sweep.cli.run import sweep
from sweep.config.compose import compose
from sweep.console import Console
from sweep.store.directory import Store
from sweep.worker.run import main as run_stage
from tests.support import toy

CONFIG = Path(__file__).parent / "toy_conf"
LEAD_S = 0.05  # until all are forked


def main(kind: str, folder: str, rounds: str, count: str) -> int:
    good = 0
    for number in range(int(rounds)):
        place = Path(folder, f"{kind}-{number}")
        faults = [*KINDS[kind](place, int(count))]
        good += not faults
        for fault in faults:
            print(f"round {number}: {fault}", flush=True)
    print(f"{good} of {rounds} rounds of {count} {kind} at once were good")
    return int(good < int(rounds))


def workers(place: Path, count: int) -> Iterator[str]:
    """What went wrong with several workers at one stage."""
    store, x = Store(place), toy.Point("toy", toy.Shape(3, pause_s=0.3))
    for stage in (toy.number_of(x), toy.doubled_of(x)):
        store.prepare(stage)
    directory = store.directory(toy.doubled_of(x))
    run_stage([str(store.directory(toy.number_of(x)).path)])
    statuses = together(count, place, lambda: run_stage([str(directory.path)]))
    said = "".join(path.read_text(encoding="utf-8") for path in place.glob("*.said"))
    if statuses != [0] * count:
        yield f"exit statuses {statuses}: {said}"
    if not directory.is_done or directory.faults():
        yield f"product: {directory.faults()}"
    if (made := (store.shared("toys") / "calls.txt").read_text(encoding="utf-8").count("\n")) != 1:
        yield f"made {made} times: {said}"
    if (told := said.count(f"waiting for {directory.address}: held by ")) != count - 1:
        yield f"{told} messages: {said}"
    if left := sorted(path.name for path in directory.path.glob("*worker.json*")):
        yield f"left behind: {left}"


def breakers(place: Path, count: int) -> Iterator[str]:
    """What went wrong with several processes that find one token of a process that has ended."""
    directory = place / "number" / "00000000000a"
    directory.mkdir(parents=True)
    gone = replace(this_process(), pid=2**22 + 1)  # above what the kernel gives
    (directory / TOKEN).write_text(holder_text(gone), encoding="utf-8")

    def work() -> int:
        with claimed(directory):
            os.close(os.open(place / "inside", os.O_CREAT | os.O_EXCL))
            time.sleep(0.02)
            (place / "inside").unlink()
        return 0

    statuses = together(count, place, work)
    if statuses != [0] * count:
        yield f"two were inside: {statuses}"
    if left := sorted(path.name for path in directory.glob("*worker.json*")):
        yield f"left behind: {left}"


def sweeps(place: Path, count: int) -> Iterator[str]:
    """What went wrong with the same sweep several times at once."""
    words = [
        "shape.number=1,2",
        f"store={place / 'store'}",
        f"results={place / 'results'}",
        "pipeline=tests.support.toy",
        "-m",
    ]
    place.mkdir(parents=True)
    statuses = together(count, place, lambda: sweep(compose(words, CONFIG), Console(width=200, highlight=False)))
    said = "".join(path.read_text(encoding="utf-8") for path in place.glob("*.said"))
    if statuses != [0] * count:
        yield f"exit statuses {statuses}: {said}"
    calls = (place / "store/shared/toys/calls.txt").read_text(encoding="utf-8").split("\n")
    if len(calls) != 3:
        yield f"made: {calls}: {said}"
    logs = sorted(place.glob("store/*/*/log-*.txt"))
    if len({path.parent for path in logs}) < 4:
        yield f"logs: {logs}"


KINDS: dict[str, Callable[[Path, int], Iterator[str]]] = {"workers": workers, "breakers": breakers, "sweeps": sweeps}


def together(count: int, place: Path, act: Callable[[], int]) -> list[int]:
    """Exit statuses of so many processes that begin at one moment; what each prints is in `<n>.said`."""
    begin = time.monotonic() + LEAD_S
    children = [_forked(place / f"{number}.said", begin, act) for number in range(count)]
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def _forked(said: Path, begin: float, act: Callable[[], int]) -> int:
    sys.stdout.flush()
    if child := os.fork():
        return child
    status = 99
    try:
        out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(out, 1)
        os.dup2(out, 2)
        time.sleep(max(0.0, begin - time.monotonic()))
        status = act()
        sys.stdout.flush()
    finally:
        os._exit(status)


def arguments(argv: Sequence[str]) -> tuple[str, str, str, str]:
    kind, folder, rounds, count = argv
    return kind, folder, rounds, count


if __name__ == "__main__":
    raise SystemExit(main(*arguments(sys.argv[1:])))
