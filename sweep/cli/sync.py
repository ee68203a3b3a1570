"""The command `sync`: mirror a plan on W&B, once or while it runs."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sweep.cli.manual import graph_without_redo, planned_again
from sweep.config.compose import Composition, compose_entry
from sweep.console import Console, escape
from sweep.core.interrupt import stop_requests
from sweep.core.pipeline import Graph
from sweep.errors import InputError
from sweep.local.mirror import Look, MirrorPass, follow, mirror_finished
from sweep.slurm import lifecycle
from sweep.slurm.submission import SubmissionDirectory, find_submission
from sweep.store.directory import Store

NICE = 10  # workers come first
PAUSE_S = 0.5  # how soon a stop signal is noticed
QUEUE_INTERVAL_S = 60.0  # between two questions to SLURM


def sync(
    console: Console, submission: str | None, watch: bool, attached: bool, every: float, overrides: Sequence[str]
) -> int:
    """Mirror the finished stages of a command or submission; with `watch`, follow it until it ends."""
    directory = _submission(submission, overrides) if submission is not None else None
    composition, graph = graph_without_redo(overrides) if directory is None else planned_again(directory)
    if graph.live is None and attached:  # a job asks for every submission
        return 0
    if graph.live is None:
        raise InputError("track.wandb false: there is nothing to mirror. Add track.wandb=true.")
    store = Store(composition.entry.store)
    if not store.root.is_dir():
        raise InputError(f"store {store.root}: does not exist, so nothing is finished or running. Give the store.")
    found = _watch(composition, graph, directory, attached, every) if watch else mirror_finished(graph, store)
    if attached:
        return 0
    console.print(f"finished: {found.finished} of {found.stages} stages. Running: {found.at_work}.")
    if not (unsent := graph.live.unsent()):
        return 0
    what = f"sync: not mirrored: {', '.join(unsent)}. Read the warnings, check WANDB_MODE, and give the command again."
    console.errors.print(escape(what), soft_wrap=True)
    return 1


def _watch(
    composition: Composition, graph: Graph, directory: SubmissionDirectory | None, attached: bool, every: float
) -> Look:
    with suppress(OSError):
        os.nice(NICE)
    passes = MirrorPass(graph, Store(composition.entry.store))
    with stop_requests() as stop_requested:
        return follow(
            passes, _Wait(stop_requested, attached, _Queue(directory) if directory and not attached else None), every
        )


@dataclass
class _Queue:
    """Whether a submission has jobs in the queue, asked once in a while."""

    directory: SubmissionDirectory
    asked_at: float = -QUEUE_INTERVAL_S
    answer: bool = True

    def is_alive(self) -> bool:
        if time.monotonic() - self.asked_at >= QUEUE_INTERVAL_S:
            self.asked_at = time.monotonic()
            elements = lifecycle.submission_status(self.directory).elements
            self.answer = any(each.state.is_alive for each in elements)
        return self.answer


@dataclass
class _Wait:
    """Waits between two passes; False once there is nothing more to wait for."""

    stop_requested: Callable[[], bool]
    is_attached: bool  # the launcher closes our standard input when it ends
    queue: _Queue | None

    def __call__(self, seconds: float) -> bool:
        ends_at = time.monotonic() + seconds
        while (left := ends_at - time.monotonic()) > 0:
            if self.stop_requested():
                return False
            pause_s = min(left, PAUSE_S)
            if not self.is_attached:
                time.sleep(pause_s)
            elif select.select([sys.stdin], [], [], pause_s)[0] and not os.read(sys.stdin.fileno(), 1):
                return False
        return self.queue is None or self.queue.is_alive()


def _submission(name: str, overrides: Sequence[str]) -> SubmissionDirectory:
    """A submission by its path or its ID."""
    fields = [each for each in overrides if each.partition("=")[0] not in ("store", "results", "-m")]
    if fields:
        raise InputError(f"sync {name}: {fields[0]}: a submission has its own fields. Leave this out.")
    path = SubmissionDirectory(Path(name).resolve())
    if path.exists:
        return path
    return find_submission(compose_entry([each for each in overrides if each != "-m"]).store, name, lambda _: True)
