"""Initial stores of the cases: empty, finished, half finished, damaged."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.faults.cases import REDO, SWEEP, Seen
from tests.faults.processes import Bench, kill_descendants
from tests.faults.state import State, plant_users_files
from tests.faults.trial import Trial


class Bases:
    """Finished and half-finished homes to begin cases from, kept beside the home that they are copied to."""

    def __init__(self, bench: Bench, sweep: Sequence[str] = SWEEP, place: Path | None = None) -> None:
        self.bench = bench
        self.sweep = tuple(sweep)  # the command that is disturbed
        self.place = place or bench.home.parent
        self.seen = Seen({}, {}, 0, 0)  # until undisturbed runs were seen
        self.choir: State | None = None  # of an undisturbed run with a group, once a case needs it

    def folder(self, base: str) -> Path:
        return self.place / f"base-{base}"

    def keep(self, base: str) -> None:
        shutil.copytree(self.bench.home, self.folder(base), symlinks=True)

    def restore(self, base: str) -> None:
        """The home as it was; "fresh": nothing but the user's own files."""
        clear(self.bench)
        if base == "fresh":
            self.bench.home.mkdir()
            plant_users_files(self.bench.home)
        else:
            shutil.copytree(self.folder(base), self.bench.home, symlinks=True)


def clear(bench: Bench) -> None:
    """No process, no file, no mount of the case before."""
    kill_descendants()
    shutil.rmtree(bench.home, ignore_errors=True)
    for path in bench.home.parent.glob("output-*.txt"):
        path.unlink()
    bench.calls_file.unlink(missing_ok=True)
    bench.gauge.clear()


def begin(trial: Trial, bases: Bases, start: str) -> Sequence[str]:
    """The home before the fault, and the command that meets it."""
    bases.restore({"redo": "done"}.get(start, start))
    words = (*bases.sweep, REDO) if start == "redo" else bases.sweep
    trial.begin()
    return words
