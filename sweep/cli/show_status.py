"""Reads what `sweep status` shows of a submission, and prints it."""

from __future__ import annotations

import json
import pwd
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from sweep.claims.claim import holder_of
from sweep.claims.holder import HolderState
from sweep.cli.status_view import ShownElement, ShownStatus, status_json, status_lines
from sweep.console import Console, escape
from sweep.local.show import last_progress, read_progress
from sweep.plain_values import is_list
from sweep.slurm.advice import Asked, asked_by, how_ended, what_to_do, why_waiting
from sweep.slurm.lifecycle import SubmissionStatus
from sweep.slurm.sbatch import log_name
from sweep.slurm.status import ElementState, ElementStatus, SlurmInfo
from sweep.slurm.submission import SubmissionDirectory
from sweep.store.directory import StageDirectory, StoreError, read_json
from sweep.store.status_files import failure_line, failure_message
from sweep.worker.stall import SHOWN_S, age_s

ENDED = (ElementState.FAILED, ElementState.CANCELLED)  # whose last state in SLURM says why


def show_status(console: Console, status: ShownStatus) -> None:
    """Print rows that fit the terminal; elsewhere one line for each row, however long."""
    for line in status_lines(status, console.width if console.is_terminal else None):
        console.print(escape(line.text), style=line.style or None, soft_wrap=True)


def show_json(console: Console, status: ShownStatus) -> None:
    """Print a submission as JSON."""
    console.print(escape(json.dumps(status_json(status), indent=2)), soft_wrap=True)


def read_status(
    directory: SubmissionDirectory, current: SubmissionStatus, restarts: Mapping[str, int] | None = None
) -> ShownStatus:
    """A submission as it is shown; `restarts` counts those of elements in the queue."""
    submission = current.submission
    asked = {job.name: asked_by(job, submission.launch) for job in submission.jobs}
    elements = [_shown(directory, each, asked[each.job]) for each in current.elements]
    counted = [replace(each, restarts=(restarts or {}).get(each.job_id, each.restarts)) for each in elements]
    return ShownStatus(
        name=directory.name,
        source=current.source,
        note=current.note,
        elements=tuple(counted),
        at=datetime.now(),
        warnings=tuple(_probe_warnings(directory)),
        published=_results_place(directory) if directory.published_file.exists() else None,
        resume=f"python -m sweep resume {directory.arguments}",
    )


def _shown(directory: SubmissionDirectory, each: ElementStatus, asked: Asked) -> ShownElement:
    """One element, with what SLURM and the files of its stages say about it."""
    log = directory.logs / log_name(each.job, str(each.index))
    failed = _failed(directory, each) if each.state in (ElementState.FAILED, ElementState.RUNNING) else []
    message = " ".join(dict.fromkeys(failure_message(place.failed_file) for place in failed))
    shown = ShownElement(
        job=each.job,
        index=each.index,
        job_id=each.job_id or "",
        state=each.state,
        stages=each.element.stages,
        label=each.element.label,
        failed=tuple(place.address for place in failed),
        message=message,
        advice=what_to_do(each.state, each.seen, asked, message),
        log=str(log) if log.exists() else "",
    )
    if each.state is ElementState.RUNNING:
        shown = replace(shown, progress=_progress(directory, each), note=note_of(directory, each))
    return _with_answer(shown, each.seen) if each.seen is not None and each.state is not ElementState.DONE else shown


def _with_answer(shown: ShownElement, seen: SlurmInfo) -> ShownElement:
    """Add what SLURM reports of an element that is not done."""
    is_waiting, is_over = shown.state is ElementState.WAITING, shown.state in ENDED
    return replace(
        shown,
        slurm_state=seen.state,
        ending=how_ended(seen, _user(seen.cancelled_by)) if is_over else "",
        elapsed="" if is_waiting else seen.elapsed,
        nodes=seen.nodes,
        reason=seen.reason,
        why=why_waiting(seen.reason) if is_waiting else "",
        starts_at=seen.starts_at if is_waiting else "",
        restarts=seen.restarts,
        peak_memory_gib=seen.peak_memory_gib,
    )


def _user(uid: str) -> str:
    """The login name of a user ID, which may belong to a user unknown here."""
    try:
        return pwd.getpwuid(int(uid)).pw_name
    except (ValueError, KeyError):
        return f"user {uid}" if uid else ""


def _progress(directory: SubmissionDirectory, each: ElementStatus) -> tuple[int, int, str]:
    """Of all its stages together."""
    done, total, unit = 0, 0, ""
    for address in each.element.stages:
        seen = read_progress(StageDirectory(directory.store / address).progress_file)
        done, total, unit = done + seen[0], total + seen[1], seen[2] or unit
    return done, total, unit


def note_of(directory: SubmissionDirectory, each: ElementStatus) -> str:
    """Who else is making the element's stages, or how long ago its last progress was."""
    left = [
        place for address in each.element.stages if not (place := StageDirectory(directory.store / address)).is_done
    ]
    held = next((found for place in left if (found := holder_of(place.path, lambda _: HolderState.AT_WORK))), None)
    if held is not None and held[1] is not HolderState.ENDED and held[0].job != each.job_id:
        return f"waits, held by {held[0]!s}"
    age = age_s(left)
    return last_progress(age) if age is not None and age >= SHOWN_S else ""


def _failed(directory: SubmissionDirectory, each: ElementStatus) -> list[StageDirectory]:
    """Its failed stages; of a packed element they are known while it still runs."""
    places = (StageDirectory(directory.store / address) for address in each.element.stages)
    return [place for place in places if place.failed_file.exists() and not place.is_done]


def _probe_warnings(directory: SubmissionDirectory) -> list[str]:
    """Warnings of the first job about the store, with control characters replaced."""
    if not directory.probe_file.exists():
        return []
    try:
        found = read_json(directory.probe_file).get("warnings")
    except (StoreError, OSError):
        found = ["probe.json is damaged"]
    warnings = [_printable(str(warning)) for warning in found] if is_list(found) else []
    return [f"store, checked by the first job: {'; '.join(warnings)}."] if warnings else []


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)


def _results_place(directory: SubmissionDirectory) -> str:
    with suppress(StoreError, OSError):
        if isinstance(place := read_json(directory.published_file).get("results"), str):
            return failure_line(place)
    return f"to an unknown folder, {directory.published_file.name} is damaged"
