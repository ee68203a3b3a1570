"""Mirrors a plan elsewhere, such as on W&B: finished stages once, and stages in progress every few seconds.

Reads the store only, so it can run beside a launcher, in a job or on a login node. What it cannot mirror is a warning.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sweep.claims.claim import holder_of
from sweep.claims.holder import HolderState
from sweep.core.pipeline import Graph
from sweep.core.stage import Stage
from sweep.plan.graph import plan
from sweep.printable import printable
from sweep.secrets import redacted
from sweep.store.directory import StageDirectory, Store
from sweep.store.status_files import failure_message

log = logging.getLogger(__name__)

LOOK_INTERVAL_S = 10.0


@dataclass(frozen=True)
class Look:
    """What a pass over the plan found."""

    stages: int
    finished: int
    at_work: int
    is_complete: bool  # the final stage is finished; what is behind it may have been pruned


@dataclass
class MirrorPass:
    """Passes over the stages of a plan."""

    graph: Graph
    store: Store
    is_following: bool = True  # False: finished stages only
    _finished: set[str] = field(default_factory=set[str])  # addresses that were mirrored
    _failed: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])  # addresses and messages, reported

    def __post_init__(self) -> None:
        self._stages = plan([self.graph.artifact], lambda stage: False).needed

    def look(self) -> Look:
        """Follow what is in progress, then mirror what has finished since the last pass, inputs first."""
        done = [stage for stage in self._stages if self.store.is_done(stage)]
        addresses = {stage.address for stage in done}
        at_work = self._at_work(addresses)
        if self.graph.live is not None and self.is_following:
            self.graph.live.follow(at_work)
            if failures := self._new_failures(at_work):
                self.graph.live.failed(failures)
        self._mirror(done)
        # As seen before sending, which takes a while: what has finished since then is not mirrored yet.
        return Look(len(self._stages), len(done), len(at_work), self.graph.artifact.address in addresses)

    def close(self) -> None:
        """Leave what is still in progress."""
        if self.graph.live is not None:
            self.graph.live.close()

    def _mirror(self, done: Sequence[Stage]) -> None:
        new = [stage for stage in done if stage.address not in self._finished]
        if any(stage.address == self.graph.artifact.address for stage in new):
            new = list(done)  # the final stage adds to what earlier ones show, such as a comparison of points
        for stage in new:
            mirror(self.graph, stage, self.store)
            self._finished.add(stage.address)

    def _at_work(self, done: set[str]) -> Mapping[str, Path]:
        """Scratch folders, by address, of the unfinished stages that a process holds."""
        directories = (self.store.directory(stage) for stage in self._stages if stage.address not in done)
        return {each.address: each.scratch for each in directories if _is_held(each)}

    def _new_failures(self, at_work: Mapping[str, Path]) -> dict[str, str]:
        """Messages by address."""
        directories = (self.store.directory(stage) for stage in self._stages if stage.address not in at_work)
        found = {
            each.address: failure_message(each.failed_file)
            for each in directories
            if not each.is_done and each.failed_file.exists()
        }
        new = dict(found.items() - self._failed)
        self._failed = set(found.items())
        return new


def mirror_finished(graph: Graph, store: Store) -> Look:
    """Mirror what is finished, whatever else is missing."""
    passes = MirrorPass(graph, store, is_following=False)
    try:
        return passes.look()
    finally:
        passes.close()


def follow(passes: MirrorPass, wait: Callable[[float], bool], interval_s: float = LOOK_INTERVAL_S) -> Look:
    """Pass over the plan until all of it is finished, or `wait` says that it was the last time; returns the last look.

    `wait`: called with seconds between two passes; False to end after one more pass.
    """
    try:
        while not (found := passes.look()).is_complete:
            if not wait(interval_s):
                return passes.look()
        return found
    finally:
        passes.close()


def mirror(graph: Graph, stage: Stage, store: Store) -> None:
    """Mirror a finished stage if its files match its record; log any exception as a warning."""
    directory = store.directory(stage)
    if faults := directory.new_faults()[0]:
        log.warning("%s is not mirrored: damaged, %s.", stage.address, faults[0])
        return
    try:
        graph.on_finished(stage, directory.path)
    except Exception as error:  # a mirror must not fail the run
        why = printable(redacted(f"{type(error).__name__}: {error}"))
        log.warning("%s is not mirrored (%s).", stage.address, why)
        log.debug("its mirror failed", exc_info=True)


def _is_held(directory: StageDirectory) -> bool:
    """Whether a process makes this stage, as far as that is known without asking SLURM."""
    found = holder_of(directory.path, lambda _: HolderState.UNKNOWN)
    return found is not None and found[1] is not HolderState.ENDED
