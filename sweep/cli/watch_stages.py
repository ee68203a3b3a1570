"""Read the stages that `sweep watch` follows: of a submission, of a command, or those being made in a store now.

Reads the store (records, failures, progress, locks), and squeue for submissions; writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from sweep.claims.claim import holder_of
from sweep.claims.holder import HolderState
from sweep.claims.store_hold import sweeps_at_work
from sweep.cli.show_status import note_of
from sweep.cli.watch_view import WatchedStage, WatchState
from sweep.core.stage import Stage
from sweep.local.show import last_progress, read_progress
from sweep.maintenance.inventory import stage_directories
from sweep.slurm import lifecycle
from sweep.slurm.advice import how_ended
from sweep.slurm.sbatch import log_name
from sweep.slurm.status import TO_RESUBMIT, ElementState, ElementStatus
from sweep.slurm.submission import SubmissionDirectory
from sweep.store.directory import StageDirectory, Store, StoreError
from sweep.store.status_files import failure_message
from sweep.worker.stall import SHOWN_S, age_s

LOCAL_INTERVAL_S = 2.0
RUN_AGAIN = "Give the command of the run again: finished stages are kept."
QUEUE_INTERVAL_S = 10.0  # one squeue call each time
CLOCK_SLACK_S = 2.0  # of a file system's clock against that of this machine
STATES = {
    ElementState.FAILED: WatchState.FAILED,
    ElementState.RUNNING: WatchState.RUNNING,
    ElementState.WAITING: WatchState.WAITING,
}
STUCK = (ElementState.BLOCKED, ElementState.CANCELLED, ElementState.LOST, ElementState.UNSENT)


@dataclass(frozen=True)
class Look:
    """The stages at one moment."""

    stages: tuple[WatchedStage, ...]
    is_alive: bool  # whether anything runs, or will


class WatchedStages(Protocol):
    """Something to follow."""

    @property
    def title(self) -> str: ...

    @property
    def interval_s(self) -> float: ...

    @property
    def advice(self) -> str:
        """What to do if it ends with stages that are not done."""
        ...

    def look(self) -> Look:
        """Its stages now."""
        ...


@dataclass
class CommandStages:
    """The stages of one command, in the order of its plan."""

    title: str
    stages: Sequence[Stage]
    store: Store
    interval_s: float = LOCAL_INTERVAL_S
    advice: str = RUN_AGAIN

    def look(self) -> Look:
        found = [_local(self.store.directory(stage), stage.label) for stage in self.stages]
        return Look(tuple(found), _is_alive(self.store, found))


@dataclass
class StoreStages:
    """Stages that are being made now, and those that the same sweeps made or will make."""

    store: Store
    interval_s: float = LOCAL_INTERVAL_S
    advice: str = RUN_AGAIN
    since: float | None = None  # when the first of these sweeps began
    labels: dict[str, str] = field(default_factory=dict[str, str])  # by address

    @property
    def title(self) -> str:
        return str(self.store.root)

    def look(self) -> Look:
        """All stages that a process works on, or that a running sweep has prepared; they stay until the end."""
        started = [begun for each in sweeps_at_work(self.store.root) if (begun := _time(each.since)) is not None]
        self.since = min([*started, *([] if self.since is None else [self.since])], default=None)
        for directory in stage_directories(self.store):
            if directory.address not in self.labels and (self._is_prepared(directory) or _holder(directory)):
                self.labels[directory.address] = label_of(directory)
        found = [_local(StageDirectory(self.store.root / address), label) for address, label in self.labels.items()]
        return Look(tuple(found), _is_alive(self.store, found))

    def _is_prepared(self, directory: StageDirectory) -> bool:
        with suppress(OSError):
            return self.since is not None and directory.stage_file.stat().st_mtime >= self.since - CLOCK_SLACK_S
        return False


@dataclass
class SubmissionStages:
    """The stages of a submission to SLURM."""

    directory: SubmissionDirectory
    interval_s: float = QUEUE_INTERVAL_S

    @property
    def title(self) -> str:
        return self.directory.name

    @property
    def advice(self) -> str:
        return f"To submit what is missing: python -m sweep resume {self.directory.arguments}"

    def look(self) -> Look:
        current = lifecycle.status_with_waves(self.directory)
        is_alive = any(each.state not in (*TO_RESUBMIT, ElementState.DONE) for each in current.elements)
        return Look(tuple(found for each in current.elements for found in self._element(each)), is_alive)

    def _element(self, each: ElementStatus) -> Iterator[WatchedStage]:
        if not each.element.stages:
            state = WatchState.DONE if each.state is ElementState.DONE else _state(each)
            yield WatchedStage("publish", state, note=_reason(each))
        for address in each.element.stages:
            stage = StageDirectory(self.directory.store / address)
            label = each.element.label if len(each.element.stages) == 1 else label_of(stage)
            if stage.is_done:
                yield WatchedStage(address, WatchState.DONE, label)
            elif each.state is ElementState.UNKNOWN:
                yield _local(stage, label)
            else:
                yield self._unfinished(each, stage, label)

    def _unfinished(self, each: ElementStatus, stage: StageDirectory, label: str) -> WatchedStage:
        state, note, log = _state(each), _reason(each), self.directory.logs / log_name(each.job, str(each.index))
        done, total, unit = read_progress(stage.progress_file) if state is WatchState.RUNNING else (0, 0, "")
        if state is WatchState.FAILED and stage.failed_file.exists():
            note = failure_message(stage.failed_file)
        if state is WatchState.RUNNING:
            note = note_of(self.directory, each)
        shown = str(log) if state is WatchState.FAILED and log.exists() else ""
        return WatchedStage(stage.address, state, label, done, total, unit, note, each.job_id or "", shown)


def _state(each: ElementStatus) -> WatchState:
    return WatchState.STUCK if each.state in STUCK else STATES.get(each.state, WatchState.WAITING)


def _reason(each: ElementStatus) -> str:
    """Why an element is in its state, in SLURM's words, or the state itself."""
    if each.state in (*STUCK, ElementState.LATER):
        return each.state.value
    if each.seen is None or each.state is ElementState.RUNNING:
        return ""
    if each.state is ElementState.FAILED:
        return how_ended(each.seen)
    return "" if each.seen.reason == "None" else each.seen.reason


# ---------------------------------------------------------------------------------------- stages on this machine


def _local(stage: StageDirectory, label: str) -> WatchedStage:
    """A stage by its files and locks alone."""
    if stage.is_done:
        return WatchedStage(stage.address, WatchState.DONE, label)
    if worker := _holder(stage):
        done, total, unit = read_progress(stage.progress_file)
        age = age_s([stage])
        note = last_progress(age) if total and age is not None and age >= SHOWN_S else ""
        return WatchedStage(stage.address, WatchState.RUNNING, label, done, total, unit, note, worker)
    if stage.failed_file.exists():
        log = str(stage.log_file) if stage.log_file.exists() else ""
        message = failure_message(stage.failed_file)
        return WatchedStage(stage.address, WatchState.FAILED, label, note=message, log=log)
    note = "interrupted" if stage.interrupted_file.exists() else ""
    return WatchedStage(stage.address, WatchState.WAITING, label, note=note)


def _holder(stage: StageDirectory) -> str:
    """The process that makes a stage; "" if there is none. A job counts as running while its token is there."""
    found = holder_of(stage.path, lambda _: HolderState.AT_WORK)
    if found is not None and found[1] is not HolderState.ENDED:
        return f"{found[0].host} {found[0].pid}"
    return ""


def label_of(stage: StageDirectory) -> str:
    """The label in stage.json; "" if that cannot be read."""
    with suppress(StoreError, OSError):
        return str(stage.read_stage().get("label", ""))
    return ""


def _is_alive(store: Store, found: Sequence[WatchedStage]) -> bool:
    return any(each.state is WatchState.RUNNING for each in found) or bool(sweeps_at_work(store.root))


def _time(text: str) -> float | None:
    with suppress(ValueError):
        return datetime.fromisoformat(text).timestamp()
    return None
