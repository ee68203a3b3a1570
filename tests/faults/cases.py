"""The table of faults: all cases by kind, enumerated from what an undisturbed run does and writes.

    id    KIND:WHERE:HOW     flip:answers/out/answers.jsonl+resting:middle     crash:fresh/driver@12:kill

An id names the same case on every machine and can be run alone: make faults CASE=ID.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.faults.damage import KIND_OF_DAMAGE

SWEEP = ("number=1,2",)
REDO = "redo=weights,answers"
REAL = "smoke "  # before the kind of a fault in a real scan
PAGE_BYTES = 4096
WORDS: Mapping[str, Sequence[str]] = {
    "prune": ("store", "prune"),
    "prune-yes": ("store", "prune", "--yes"),
    "prune-unfinished": ("store", "prune", "--yes", "--unfinished"),
    "check": ("store", "check"),
    "check-fix": ("store", "check", "--repair"),
    "store": ("store",),
    "sweep": SWEEP,
    "longer": ("number=1,2,3", "name=longer"),
    "longer-here": ("number=1,2,3",),
    "publish": ("publish", *SWEEP),
    "redo=traces": (*SWEEP, "redo=traces"),
    "redo=numbers": (*SWEEP, "redo=numbers"),
    "unfinished": ("number=1,2,3", "name=longer"),
}


@dataclass(frozen=True)
class Case:
    kind: str  # a line of the table that `make faults` prints
    where: str
    how: str

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.where}:{self.how}"


@dataclass(frozen=True)
class Seen:
    """What undisturbed runs do and leave, which the table is made from."""

    changes: Mapping[tuple[str, str], int]  # by start and process: how often the file system was changed
    files: Mapping[str, Sequence[tuple[str, Sequence[str]]]]  # by base: kinds of files and the damages they can have
    pages: int  # of 4096 bytes, that a finished store with its results takes
    inodes: int


AT_A_CHANGE: Mapping[str, Sequence[str]] = {
    "crash": ("kill",),
    "torn write": ("torn",),
    "power cut": ("power",),
    "signal": ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"),
    "stop": ("stop-continue", "stop-kill", "stop-rerun"),
    "disk full": ("ENOSPC",),
    "read-only": ("EROFS", "EACCES"),
    "disk error": ("EIO",),
}
EVERY = {  # one change in so many; a crash comes before each of them
    **{"kill": 1, "torn": 2, "power": 2, "ENOSPC": 2, "EROFS": 4, "EACCES": 8, "EIO": 3},
    **{"SIGTERM": 4, "SIGINT": 4, "SIGHUP": 7, "SIGUSR1": 7, "stop-continue": 10, "stop-kill": 5, "stop-rerun": 5},
}
DONE = "done"  # the home that most damages begin from; others are named before the file
BASES = (DONE, "half-weights", "half-answers", "half-report", "redone")
STARTS = ("fresh", "redo", "damaged")
BESIDE = (
    *("prune", "prune-yes", "prune-unfinished", "check", "check-fix", "store"),
    *("sweep", "redo=traces", "redo=numbers", "longer"),
)
OVER_RESULTS = ("sweep", "longer-here", "redo=traces", "publish", "prune-yes", "prune-unfinished", "check-fix")
SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1")
ROUNDS = 40
FEWEST, FEWEST_SLOW = 6, 2  # of a kind in a sample
SLOW = ("group",)  # starts real interpreters


def all_cases(seen: Seen) -> list[Case]:
    cases = [
        *_at_changes(seen),
        *_damages(seen),
        *_of_house_keeping(seen),
        *_beside(seen),
        *(Case("clock", start, how) for start in STARTS for how in ("clock-back", "clock-ahead", "clock-1970")),
        *(Case("clock", start, how) for start in STARTS for how in ("files-old", "files-new")),
        *_locks(),
        *(
            Case("dear", place, how)
            for place in ("weights", "weights+resting")
            for how in ("middle", "half", "removed")
        ),
        *(Case("results", what, how) for what in ("notes", "earlier result") for how in OVER_RESULTS),
        *(Case("tracker", "on_finished", how) for how in ("TypeError", "OSError", "TimeoutError", "StoreError")),
        *(Case("at once", f"{many} sweeps", f"round-{number}") for many in (2, 4) for number in range(ROUNDS)),
        *(Case("group", who, how) for who in ("0", "1", "torchrun", "leader") for how in SIGNALS),
        *_disks(seen),
        *(Case("read-only", "mount", how) for how in ("sweep", "store", "check", "prune", "unfinished")),
        *(Case("read-only", "user", how) for how in ("sweep", "store", "check", "prune", "unfinished")),
    ]
    assert len({case.id for case in cases}) == len(cases), "two cases of one id"
    return cases


def _at_changes(seen: Seen) -> Iterator[Case]:
    for (start, who), count in sorted(seen.changes.items()):
        for kind, hows in AT_A_CHANGE.items():
            for how in hows:
                step = EVERY[how] * (1 if start == "fresh" or how == "kill" else 2)
                for at in range(1, count + 1, step):
                    yield Case(kind, f"{start}/{who}@{at}", how)


def _damages(seen: Seen) -> Iterator[Case]:
    for base, kinds in seen.files.items():
        for kind, hows in kinds:
            for how in hows:
                place = kind if base == DONE else f"{base}/{kind}"
                yield Case(KIND_OF_DAMAGE[how], place, how)
                if base == DONE and not kind.startswith("results/"):
                    yield Case(KIND_OF_DAMAGE[how], f"{place}+resting", how)


def _of_house_keeping(seen: Seen) -> Iterator[Case]:
    """The same damages, seen by `store check` first; and a prune behind a damage."""
    for kind, hows in seen.files[DONE]:
        for how in hows:
            if how in ("middle", "half", "removed", "folder"):
                yield Case("check", kind, how)
            if how in ("middle", "removed", "empty") and not kind.endswith(("/lock", "log.txt")):
                yield Case("prune", kind, how)


def _beside(seen: Seen) -> Iterator[Case]:
    points = [
        (start, who, at)
        for (start, who), count in sorted(seen.changes.items())
        for at in range(1, count + 1)
        if start in ("fresh", "damaged")
    ]
    for offset, word in enumerate(BESIDE):
        for start, who, at in points[offset :: len(BESIDE)]:
            yield Case("beside", f"{start}/{who}@{at}", word)


def _locks() -> Iterator[Case]:
    for how in ("lock-noop", "lock-ENOLCK", "lock-ENOSYS", "lock-EOPNOTSUPP"):
        for start in STARTS:
            yield Case("lock", start, how)
    for many in (2, 4):
        for number in range(ROUNDS):
            yield Case("lock", f"{many} sweeps", f"noop-round-{number}")
    for where in ("store", "numbers", "weights", "answers", "squares", "report", "publishing"):
        yield Case("lock", where, "held")


def _disks(seen: Seen) -> Iterator[Case]:
    for part in range(1, 20):
        yield Case("disk full", "mount", f"size-{part * 5}%")
        yield Case("disk full", "mount", f"inodes-{part * 5}%")


def sample(cases: Sequence[Case], size: int, seed: int) -> list[Case]:
    """The same one for the same seed; every kind has its share, and at least a few."""
    kinds: dict[str, list[Case]] = {}
    for case in cases:
        kinds.setdefault(case.kind, []).append(case)
    chosen: list[Case] = []
    for kind, of_kind in sorted(kinds.items()):
        many = max(round(size * len(of_kind) / len(cases)), FEWEST_SLOW if kind in SLOW else FEWEST)
        chosen += random.Random(f"{seed} {kind}").sample(of_kind, min(many, len(of_kind)))
    return chosen
