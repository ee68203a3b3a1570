"""Sends the next wave of a submission from one of its jobs: `python -m sweep.slurm.feed store/submissions/ID`.

Every element calls it as it starts and ends while waves.json exists, and the last job of a wave does nothing else. One
process at a time feeds, under the submission's lock; whoever finds the lock taken leaves it to the other. If it is
killed, the next element, the last job of the wave, or `sweep resume` continues: the files in jobs/ say what was sent.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from sweep.claims.lock import LockMode, locked_now
from sweep.errors import InputError
from sweep.slurm import client, retry
from sweep.slurm.dispatch import (
    Sending,
    dispatch,
    feeder_ids,
    how_to_continue,
    is_feeder_waiting,
    keep_feeding,
    read_waves,
    room_in_queue,
)
from sweep.slurm.jobs import SlurmJob, elements_text
from sweep.slurm.lifecycle import array_limit, queued_elsewhere, store_info, submission_status, without_queued
from sweep.slurm.send import Submit, settle_unconfirmed
from sweep.slurm.status import ElementState, ElementStatus, latest_statuses
from sweep.slurm.submission import SubmissionDirectory
from sweep.slurm.waves import Room, Wave, next_wave

LOCK_WAIT_S = 60.0
WAITS_S = (2.0, 4.0, 8.0)  # for a controller that does not answer: a GPU may be waiting for this process


def feed(directory: SubmissionDirectory, own_id: str | None = None, submit: Submit = client.sbatch) -> str:
    """Send the next wave if there is room; returns a line that says what was sent, or "".

    `own_id` is the element that calls, which is about to end. Raises InputError if SLURM does not answer or refuses.
    """
    is_feeder = own_id in feeder_ids(directory)
    until = time.monotonic() + (LOCK_WAIT_S if is_feeder else 0)  # after a job that only feeds, nothing else may come
    while True:
        with locked_now(directory.lock_file, LockMode.EXCLUSIVE) as is_ours:
            if is_ours:
                return _feed_open(directory, own_id, submit)
        if time.monotonic() >= until:
            return ""
        time.sleep(1)


def _feed_open(directory: SubmissionDirectory, own_id: str | None, submit: Submit) -> str:
    if not directory.waves_file.exists():
        return ""
    if not directory.is_open:
        directory.waves_file.unlink()
        return ""
    settle_unconfirmed(directory)
    return _feed(directory, own_id, submit)


def _feed(directory: SubmissionDirectory, own_id: str | None, submit: Submit) -> str:
    current = submission_status(directory)
    if any(each.state is ElementState.UNKNOWN for each in current.elements):
        raise InputError("feed: squeue does not answer, so what is in the queue is unknown.")
    done = store_info(directory, current.submission).done
    is_idle = not any(each.state.is_alive and each.job_id != own_id for each in current.elements)
    limit = current.submission.launch.max_submit_jobs or read_waves(directory).limit
    most = array_limit(current.submission.launch)

    def choose(jobs: Sequence[SlurmJob], now: Sequence[ElementStatus], room: Room) -> Wave:
        return next_wave(jobs, now, done, room, most)

    room = room_in_queue(limit, is_idle, may_wait=False)
    others = queued_elsewhere(directory.store, directory.name)
    now = without_queued(latest_statuses(current.elements), others, directory.store)
    sent = dispatch(directory, now, choose, room, Sending(submit, others, is_kept=True))
    if not sent.left and is_idle:
        directory.waves_file.unlink()
    elif sent.ids or (is_idle and not is_feeder_waiting(directory)):  # one that waits starts when this job has ended
        caller = None if own_id in feeder_ids(directory) else own_id
        waves = keep_feeding(directory, sent, limit, submit, caller=caller)
        if waves.why:
            raise InputError(waves.why)
    elements = sum(len(job.elements) for job in sent.submission.jobs if job.name in sent.ids)
    return f"feed: {elements_text(elements)} submitted, {sent.left} left" if sent.ids else ""


def element_of(environment: Mapping[str, str]) -> str | None:
    """SLURM's id of the element that this process belongs to."""
    array, index = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{index}" if array and index else environment.get("SLURM_JOB_ID")


def main(submission: Path) -> int:
    """Feed and print what was done; 0 even if that fails, as the element's own work is not affected."""
    directory = SubmissionDirectory(submission.resolve())
    retry.RETRY = retry.RetryPolicy(WAITS_S)
    try:
        line = feed(directory, element_of(os.environ))
        if line:
            print(line, flush=True)
    except (InputError, OSError) as error:
        text = str(error)
        if "python -m sweep resume" not in text:
            text = f"feed: {text} {how_to_continue(directory)}"
        with suppress(OSError):
            print(text, file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
