"""Reference runs, and the processes that run the cases one after another."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.faults.bases import Bases, clear
from tests.faults.cases import BASES, PAGE_BYTES, REDO, STARTS, SWEEP, WORDS, Case, Seen, all_cases
from tests.faults.damage import DAMAGES, can_be, kinds_of, remove_resting
from tests.faults.faults import Fault
from tests.faults.processes import Bench, become_subreaper, kill_descendants, settle
from tests.faults.scenarios import scenario_of
from tests.faults.state import State
from tests.faults.trial import Outcome, Trial, outcome_of

MEMORY = Path("/dev/shm")
_place: Path | None = None  # of a process of a pool: where its folder is made


@dataclass(frozen=True)
class Suite:
    """A place to run cases in, and what undisturbed runs left there."""

    bench: Bench
    bases: Bases
    reference: State

    def run(self, case: Case) -> Outcome:
        """One case; whatever goes wrong in the suite itself is an outcome too."""
        started = time.monotonic()
        trial = Trial(case, self.bench, self.reference)
        try:
            scenario_of(case)(trial, self.bases)
            return trial.judge()
        except Exception as error:
            return outcome_of(error, case, started)
        finally:
            clear(self.bench)

    def cases(self) -> list[Case]:
        return all_cases(self.bases.seen)


@contextmanager
def suite() -> Iterator[Suite]:
    """Of the toy pipeline."""
    with folder_of_its_own() as folder:
        yield _undisturbed(Bench(folder / "home"))


@contextmanager
def folder_of_its_own() -> Iterator[Path]:
    """In memory where there is room for it: a case writes little, and waits for the disk a lot."""
    memory = MEMORY if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="faults-", dir=_place or memory))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        kill_descendants()
        shutil.rmtree(folder, ignore_errors=True)


def _undisturbed(bench: Bench) -> Suite:
    """Run every start without a fault, counting changes; keep the homes that cases begin from."""
    bases = Bases(bench)
    bases.restore("fresh")
    counted = {"fresh": counted_changes(bench, SWEEP)}
    bases.keep("done")
    pages, inodes = _size_of(bench.home)
    done = bench.state()
    expect(bench, WORDS["longer"])
    expect(bench, WORDS["longer-here"])
    longer = bench.state()
    bases.restore("done")
    counted["redo"] = counted_changes(bench, [*SWEEP, REDO])
    bases.keep("redone")
    bases.restore("done")
    _damage_answers(bench)
    bases.keep("damaged")
    counted["damaged"] = counted_changes(bench, SWEEP)
    for worker, marker in (("weights", "step-2"), ("answers", "lines.txt"), ("report", "table.csv")):
        half_done(bases, worker, last_change(counted["fresh"], worker, marker))
    changes = {
        (start, who): count
        for start in STARTS
        for who, count in sorted(Counter(line.split()[0] for line in counted[start]).items())
    }
    bases.seen = Seen(changes, files_of(bases, BASES), pages, inodes)
    clear(bench)
    reference = replace(done, products={**longer.products, **done.products}, records={**longer.records, **done.records})
    return Suite(bench, bases, reference)


def counted_changes(bench: Bench, words: Sequence[str]) -> list[str]:
    """The changes of an undisturbed run: `who n event path`."""
    bench.trace = bench.home.parent / "trace.txt"
    bench.trace.unlink(missing_ok=True)
    expect(bench, words)
    lines = bench.trace.read_text(encoding="utf-8").splitlines()
    bench.trace = None
    return lines


def expect(bench: Bench, words: Sequence[str]) -> None:
    done = bench.run(words)
    if done.status != 0:
        raise RuntimeError(f"an undisturbed `{' '.join(words)}` ends with status {done.status}:\n{done.output}")


def _damage_answers(bench: Bench) -> None:
    path = kinds_of(bench.home)["answers/out/answers.jsonl"]
    remove_resting(bench.home, path)
    DAMAGES["half"](path)


def half_done(bases: Bases, worker: str, at: int, start: str = "fresh") -> None:
    """Keep a home whose worker was killed in the middle."""
    bases.restore(start)
    bases.bench.run(bases.sweep, Fault("kill", worker, at))
    settle()
    bases.keep(f"half-{worker}")


def last_change(lines: Sequence[str], worker: str, marker: str) -> int:
    """The change of a worker after the last at which it opened a file of that name to write it."""
    words = [line.split(maxsplit=3) for line in lines]
    return max(int(at) for who, at, event, path in words if (who, event) == (worker, "open") and marker in path) + 1


def files_of(bases: Bases, names: Sequence[str]) -> dict[str, list[tuple[str, list[str]]]]:
    """By base: kinds of files and what can happen to each; of later bases what the earlier ones have not."""
    found: dict[str, list[tuple[str, list[str]]]] = {}
    known: set[str] = set()
    for base in names:
        kinds = {kind: path for kind, path in kinds_of(bases.folder(base)).items() if kind not in known}
        known |= set(kinds)
        found[base] = [(kind, [how for how in DAMAGES if can_be(path, how)]) for kind, path in kinds.items()]
    return found


def _size_of(folder: Path) -> tuple[int, int]:
    """Pages and inodes."""
    paths = list(folder.rglob("*"))
    pages = sum(-(-path.lstat().st_size // PAGE_BYTES) for path in paths if path.is_file())
    return pages, len(paths) + 1


# ---------------------------------------------------------------------------------------------- several at one time

_suite: Suite | None = None
_context: AbstractContextManager[Suite] | None = None  # of that suite: never left, the parent removes its folder


def run_all(cases: Sequence[Case], jobs: int, of: Callable[[], AbstractContextManager[Suite]]) -> Iterator[Outcome]:
    """Outcomes as they come; each process has a place of its own, in a folder that is removed however they end."""
    with folder_of_its_own() as folder, multiprocessing.get_context("fork").Pool(jobs, _set_up, (of, folder)) as pool:
        yield from pool.imap_unordered(_run_one, cases)


def _set_up(of: Callable[[], AbstractContextManager[Suite]], folder: Path) -> None:
    global _suite, _context, _place
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: the pool ends us
    become_subreaper()
    _place = folder
    _context = of()
    _suite = _context.__enter__()


def _run_one(case: Case) -> Outcome:
    assert _suite is not None
    return _suite.run(case)
