"""Make the stages of the given directories in this process: `python -m sweep.run DIR [DIR ...]`.

Everything needed is in `DIR/stage.json`; the same command serves the local launcher, a batch job and a person who wants
to repeat one stage by hand. Directories given together belong to one batch. Exit status 0: all made; 1: a stage failed,
and `failed.json` says why; 74: not even that could be written.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sweep.provenance import provenance
from sweep.stage import FileInput, Finished, Work
from sweep.store import StageDirectory, Store, StoreError, write_json
from sweep.typed import typed

PROGRESS_INTERVAL_S = 0.2


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m sweep.run", description=__doc__)
    parser.add_argument("directories", nargs="+", type=Path)
    parser.add_argument("--parent", type=int, help="end when this process is gone")
    arguments = parser.parse_args(argv)
    if arguments.parent:
        _end_with(arguments.parent)
    try:
        return 0 if run([StageDirectory(path.resolve()) for path in arguments.directories]) else 1
    except OSError:  # the log is on the same disk: the status is all that can still be told
        return os.EX_IOERR


def run(directories: Sequence[StageDirectory]) -> bool:
    """Make all that are not done yet; False if any failed."""
    ordered = sorted(directories, key=lambda each: each.path)  # one order for all, or two processes would wait forever
    with ExitStack() as locks:
        for directory in ordered:
            locks.enter_context(directory.locked())
        waiting = {each.path.name: each for each in directories if not each.is_done}  # another may have been first
        try:
            _make(waiting)
        except Exception as error:  # the process boundary: every failure is written down and told by the exit status
            traceback.print_exc()
            for directory in waiting.values():
                write_json(directory.failed_file, _failure(error))
            return False
    return True


def _make(waiting: dict[str, StageDirectory]) -> None:
    """Make and publish; what is published leaves `waiting`."""
    clock, origin = Clock(), provenance()
    stages = {key: directory.read_stage() for key, directory in waiting.items()}
    for finished in _finish(waiting, stages):
        waiting[finished.key].publish(_record(stages[finished.key], finished, clock.lap(), origin))
        del waiting[finished.key]
    if waiting:
        raise StoreError(f"stages {', '.join(waiting)}: their function ended without them. Mend the function.")


def _finish(waiting: Mapping[str, StageDirectory], stages: Mapping[str, Mapping[str, Any]]) -> Iterator[Finished]:
    for directory in waiting.values():
        directory.begin()
    works = [_work(directory, stages[key]) for key, directory in waiting.items()]
    if not works:
        return
    first = stages[works[0].key]
    function = named(first["run"])
    if first["batch"] is not None:
        yield from function(works)
        return
    for work in works:
        yield Finished(work.key, function(work))


def _work(directory: StageDirectory, stage: Mapping[str, Any]) -> Work[Any]:
    shared = Store(directory.root).shared(stage["batch"] or "alone")
    if stage["batch"] is not None:
        shared.mkdir(parents=True, exist_ok=True)
    return Work(
        key=directory.path.name,
        config=typed(named(stage["config_type"]), stage["identity"]["config"]),
        inputs={
            role: tuple(_input_path(directory.root, place) for place in places)
            for role, places in stage["inputs"].items()
        },
        out=directory.partial,
        scratch=directory.scratch,
        shared=shared,
        settings=stage["settings"],
        report=_progress(directory),
    )


def _input_path(root: Path, place: Mapping[str, str]) -> Path:
    """Where an input is; refused if it is not finished, not whole, or no longer the file that was planned."""
    if "file" in place:
        if FileInput.of(Path(place["file"])).key != place["key"]:
            raise StoreError(f"{place['file']}: changed since it was planned. Run the sweep again.")
        return Path(place["file"])
    directory = StageDirectory(root / place["stage"])
    if not directory.is_done:
        raise StoreError(f"input {place['stage']}: not finished. Run the sweep again, it will make it first.")
    if faults := directory.faults():
        raise StoreError(f"input {place['stage']}: damaged, {faults[0]}. Run the sweep again, it will make it anew.")
    return directory.out


def named(target: str) -> Any:
    """The object that `package.module:name` names."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


@dataclass
class Clock:
    """Seconds since the last call: what each stage of a batch took, adding up to the whole."""

    last: float = field(default_factory=time.monotonic)

    def lap(self) -> float:
        before, self.last = self.last, time.monotonic()
        return self.last - before


def _record(stage: Mapping[str, Any], finished: Finished, seconds: float, origin: Mapping[str, Any]) -> dict[str, Any]:
    usd_per_hour = float(stage["settings"].get("usd_per_hour", 0.0))
    return {
        "key": finished.key,
        "identity": stage["identity"],
        "summary": dict(finished.summary),
        "seconds": round(seconds, 3),
        "usd": round(seconds * usd_per_hour / 3600, 6),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "provenance": origin,
    }


def _failure(error: Exception) -> dict[str, Any]:
    return {
        "error": f"{type(error).__name__}: {error}",
        "message": str(error),
        "traceback": traceback.format_exc(),
        "failed_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _progress(directory: StageDirectory) -> Callable[[int, int, str], None]:
    """A reporter that keeps progress.json fresh without slowing the work."""
    last = 0.0

    def report(done: int, total: int, unit: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < PROGRESS_INTERVAL_S and done < total:
            return
        last = now
        aside = directory.progress_file.with_suffix(".aside")
        aside.write_text(json.dumps({"done": done, "total": total, "unit": unit}), encoding="utf-8")
        aside.replace(directory.progress_file)

    return report


def _end_with(parent: int) -> None:
    """Terminate this worker soon after its launcher died, however it died."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGTERM)  # with all processes of its own
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    raise SystemExit(main())
