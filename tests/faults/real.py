"""Faults in a real scan, `+experiment=smoke`: its training, its generation, every kind of file of its store.

The libraries are imported once, before the forks; nothing computes in the warm process, which has one thread. A case
begins behind what it does not touch: a fault of generation with a trained checkpoint, one of grading with answers.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sweep.config.compose import CONFIG
from tests.faults.bases import Bases, clear
from tests.faults.cases import DONE, REAL, Case, Seen
from tests.faults.damage import KIND_OF_DAMAGE, kinds_of, owes_a_word, remove_resting
from tests.faults.processes import Bench
from tests.faults.state import State
from tests.faults.suite import Suite, counted_changes, expect, files_of, folder_of_its_own, half_done, last_change

SMOKE = ("+experiment=smoke",)
HEAVY = (
    *("torch", "transformers", "trl", "datasets", "lm_eval", "matplotlib.pyplot"),
    *("s1.train.trainer", "s1.generate.transformers_engine", "s1.evaluate.replay", "s1.report.page"),
)
LIMIT_S = 1800.0
BEFORE = {"training": "rendered", "generation": "checkpoint", "grading": "traces"}  # by start: what is there already
MADE_BY = {"training": "checkpoint", "generation": "traces", "grading": "scores"}
POINTS = {"training": 8, "generation": 8, "grading": 4}  # changes at which a fault strikes, spread over a worker's
BASES = (DONE, "half-checkpoint")
SKIPPED = ("lock", "log.txt", ".png", ".svg")  # kinds of files that the toy has too


@dataclass(frozen=True)
class Shared:
    """What undisturbed runs left, once for all processes."""

    place: Path
    seen: Seen
    reference: State

    @contextmanager
    def suite(self) -> Iterator[Suite]:
        with folder_of_its_own() as folder:
            bases = Bases(_bench(folder), SMOKE, self.place)
            bases.seen = self.seen
            yield Suite(bases.bench, bases, self.reference)


@contextmanager
def undisturbed() -> Iterator[Shared]:
    """Run the scan, keep the homes that cases begin from."""
    for name in HEAVY:
        importlib.import_module(name)
    with folder_of_its_own() as folder:
        yield _undisturbed(_bench(folder), folder)


def _bench(folder: Path) -> Bench:
    os.environ["HF_HUB_OFFLINE"] = "1"
    return Bench(folder / "home", "s1.pipeline", CONFIG, LIMIT_S, _begin_worker, ("summary", "remarks"))


def _begin_worker(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _undisturbed(bench: Bench, place: Path) -> Shared:
    bases = Bases(bench, SMOKE, place)
    bases.restore("fresh")
    expect(bench, SMOKE)
    bases.keep(DONE)
    reference, counted = bench.state(), {}
    for start, name in BEFORE.items():
        bases.restore(DONE)
        remove_resting(
            bench.home, next(path for kind, path in kinds_of(bench.home).items() if kind == f"{name}/record.json")
        )
        bases.keep(start)
        counted[start] = counted_changes(bench, SMOKE)
    half_done(bases, "checkpoint", last_change(counted["training"], "checkpoint", "scratch"), "training")
    changes = {
        (start, who): sum(line.startswith(f"{who} ") for line in lines)
        for start, lines in counted.items()
        for who in (MADE_BY[start], "driver")
    }
    clear(bench)
    return Shared(place, Seen(changes, files_of(bases, BASES), 0, 0), reference)


def real_cases(seen: Seen) -> Iterator[Case]:
    """Few of each, as each takes seconds."""
    for start, points in POINTS.items():
        count = seen.changes[start, MADE_BY[start]]
        for number in range(points):
            at = 1 + number * (count - 1) // max(points - 1, 1)
            for kind, how in _faults(number):
                yield Case(f"{REAL}{kind}", f"{start}/{MADE_BY[start]}@{at}", how)
    yield from (Case(f"{REAL}tracker", "W&B", how) for how in ("frozen", "failing", "refusing"))
    for base, kinds in seen.files.items():
        for kind, hows in kinds:
            if not kind.endswith(SKIPPED):
                yield from _damages(base, kind, hows)


def _faults(number: int) -> Sequence[tuple[str, str]]:
    """Each point has a crash, and one of the others in turn."""
    others = (("torn write", "torn"), ("power cut", "power"), ("signal", "SIGTERM"), ("signal", "SIGUSR1"))
    return (("crash", "kill"), others[number % len(others)])


def _damages(base: str, kind: str, hows: Sequence[str]) -> Iterator[Case]:
    place = kind if base == DONE else f"{base}/{kind}"
    if "middle" in hows:
        yield Case(f"{REAL}flip", place, "middle")
    if "digit" in hows and base != DONE:
        yield Case(f"{REAL}flip", place, "digit")
    if "half" in hows and base != DONE:
        yield Case(f"{REAL}{KIND_OF_DAMAGE['half']}", place, "half")
    is_read = owes_a_word(kind) or kind.startswith("shared/")
    if base == DONE and is_read and "digit" in hows and not kind.startswith("report/"):
        yield Case(f"{REAL}flip", f"{place}+resting", "digit")
