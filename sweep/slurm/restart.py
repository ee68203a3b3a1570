"""Restarts an interrupted job, or ends it: called by slurm/job.sh, `python -m sweep.slurm.restart --element ID DIR...`.

The job is put back into the queue. Where that is refused, a job for the same element is submitted that starts when this
one has ended, and is recorded in the submission, so that `status`, `resume` and `cancel` know it. If that is refused
too, or launch.follow_up is false, the last line of the log says what to do. restarts.json in the first stage directory
of the step counts restarts.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from sweep.claims.lock import LockMode, locked_now
from sweep.core.pipeline import Launch
from sweep.core.typed import typed
from sweep.errors import InputError
from sweep.json_files import StoreError, read_json, write_json
from sweep.slurm import client, retry
from sweep.slurm.dispatch import Sent, keep_feeding, read_waves
from sweep.slurm.job_files import add_jobs, drop_jobs
from sweep.slurm.jobs import SlurmJob
from sweep.slurm.lifecycle import submission_status
from sweep.slurm.progress import Progress, Restarts, reason_to_stop
from sweep.slurm.send import send_job, settle_unconfirmed
from sweep.slurm.submission import SubmissionDirectory
from sweep.slurm.waves import cut_off_by, last_turns
from sweep.store.directory import StageDirectory, Store
from sweep.store.generations import shared_now
from sweep.store.status_files import failure_of

FILE = "restarts.json"
BEING_WRITTEN = ("saving-", "damaged-", ".")  # names in scratch/ that are not a finished checkpoint
READ_BYTES = 1 << 16  # larger files count by name and size
LOCK_WAIT_S = 20.0
WAITS_S = (2.0, 4.0, 8.0)  # the walltime limit is near


def progress_of(directories: Sequence[StageDirectory]) -> Progress:
    """What the files of these stages show."""
    left = [each for each in directories if not each.is_done]
    kept = hashlib.sha256()
    appended = count = 0
    for each in left:
        for path in _files(each.scratch):
            size = path.stat().st_size
            if path.suffix == ".jsonl":
                appended += size
                continue
            count += 1
            content = hashlib.sha256(path.read_bytes()).hexdigest() if size <= READ_BYTES else ""
            kept.update(f"{path.relative_to(each.path)}\0{size}\0{content}\n".encode(errors="surrogateescape"))
    for folder in {_shared(each) for each in left} - {None}:
        appended += sum(path.stat().st_size for path in _files(folder))
    return Progress(len(directories) - len(left), kept.hexdigest() if count else "", appended)


def _files(folder: Path | None) -> Iterator[Path]:
    if folder is not None and folder.is_dir():
        for path in sorted(folder.rglob("*")):
            names = path.relative_to(folder).parts
            if path.is_file() and not any(name.startswith(BEING_WRITTEN) for name in names):
                yield path


def _shared(directory: StageDirectory) -> Path | None:
    with suppress(StoreError, OSError):
        if batch := directory.read_stage()["batch"]:
            return shared_now(Store(directory.root).shared(batch))
    return None


@dataclasses.dataclass(frozen=True)
class Interrupted:
    """An interrupted job or array element."""

    element: str  # SLURM's id
    restarts: int  # as SLURM counts them
    directories: tuple[StageDirectory, ...]  # of the interrupted step
    submission: SubmissionDirectory | None = None  # None for a script that was submitted by hand
    job: str = ""
    index: int = 0


def restart(job: Interrupted) -> str:
    """Restart the job and return a line that says how. Raises InputError if it ends here."""
    submission = job.submission.read() if job.submission else None
    launch = submission.launch if submission else Launch()
    kinds = [each.resources.script for each in submission.jobs if each.name == job.job] if submission else []
    restarts = _count(job)
    if reason := reason_to_stop(restarts, launch.restarts_without_progress, kinds[0] if kinds else "KIND"):
        _forget(job)
        error = InputError(f"job {job.element}: {reason} {_with_new_settings(job)}")
        _record_failure(job, error)
        raise error
    wait = f" after {restarts.wait_s} s, as it made no progress" if restarts.wait_s else ""
    try:
        client.requeue(job.element)
    except InputError as refusal:
        if not launch.follow_up:
            raise InputError(
                f"{refusal}\njob {job.element} ends here, as launch.follow_up is false. Continue from a login node:"
                f" {_resume(job)}"
            ) from None
        return _follow_up(job, restarts.wait_s, refusal) + wait
    if restarts.wait_s:
        client.delay(job.element, restarts.wait_s)
    return f"interrupted: requeueing job {job.element}{wait}"


def _count(job: Interrupted) -> Restarts:
    """Count this interruption in restarts.json."""
    if not job.directories:
        return Restarts(job.restarts)
    file, earlier = job.directories[0].path / FILE, Restarts()
    with suppress(StoreError, OSError, InputError):
        earlier = typed(Restarts, read_json(file))
    restarts = earlier.next(progress_of(job.directories))
    with suppress(OSError):
        write_json(file, dataclasses.asdict(restarts))
    return restarts


def _forget(job: Interrupted) -> None:
    """Begin to count anew, for `resume`."""
    with suppress(OSError):
        (job.directories[0].path / FILE).unlink(missing_ok=True)


def _record_failure(job: Interrupted, error: InputError) -> None:
    """Write failed.json, from which `sweep status` takes the reason."""
    for each in job.directories:
        if not each.is_done:
            with suppress(OSError):
                write_json(each.failed_file, failure_of(error))


def _with_new_settings(job: Interrupted) -> str:
    """How to go on with other settings, which `resume` does not take."""
    if job.submission is None:
        return "Then submit the script again."
    return f"Then give the original command again with these settings; {_resume(job)} continues with those it has."


def _resume(job: Interrupted) -> str:
    if job.submission is None:
        return "submit the script again."
    return f"python -m sweep resume {job.submission.arguments}"


def _follow_up(job: Interrupted, wait_s: int, refusal: InputError) -> str:
    """Submit a job for the same element that starts when this one has ended."""
    if job.submission is None:
        raise InputError(f"{refusal} The job ends here. To continue, {_resume(job)}") from None
    until = time.monotonic() + LOCK_WAIT_S
    try:
        while True:
            with locked_now(job.submission.lock_file, LockMode.EXCLUSIVE) as is_ours:
                if is_ours:
                    return f"interrupted: {refusal} Instead, job {_submit_after(job, wait_s)} continues it"
            if time.monotonic() > until:
                raise InputError(f"{job.submission.name}: another process is submitting its jobs.")
            time.sleep(0.5)
    except InputError as error:
        raise InputError(
            f"{refusal}\n{error}\njob {job.element} ends here. Continue from a login node: {_resume(job)}"
        ) from None


def _submit_after(job: Interrupted, wait_s: int) -> str:
    directory = job.submission
    assert directory is not None
    settle_unconfirmed(directory)
    submission = directory.read()
    earlier = next(each for each in submission.jobs if each.name == job.job)
    base = job.job.partition(".r")[0]
    name = f"{base}.r{last_turns(submission.jobs)[base] + 1}"
    follower = SlurmJob(name, earlier.resources, (earlier.elements[job.index],))
    submission = add_jobs(directory, submission, [follower], [f"--begin=now+{wait_s}"] if wait_s else ())
    try:
        send_job(directory, follower, f"afterany:{job.element}", client.sbatch, ids := dict[str, str]())
    except InputError:
        drop_jobs(directory, submission, [name])
        raise
    # SLURM cancels what waited for this job: it is submitted again at the end of the one that follows.
    now, waves = list(submission_status(directory).elements), read_waves(directory)
    cut_off = cut_off_by(follower.elements[0].stages, now)
    keep_feeding(directory, Sent(submission, now, waves.left), waves.limit, client.sbatch, cut_off)
    return ids[name]


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 1, with the reason on stderr, if the job ends here."""
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # requeueing ends the processes of the job, with this one
    parser = argparse.ArgumentParser(prog="python -m sweep.slurm.restart", description=__doc__)
    parser.add_argument("--element", required=True, help="SLURM's id of the job or array element")
    parser.add_argument("--restarts", type=int, default=0, help="restarts so far, as SLURM counts them")
    parser.add_argument("--submission", type=Path, help="the directory of the submission; by hand there is none")
    parser.add_argument("--job", default="", help="name of the job in the submission")
    parser.add_argument("--index", type=int, default=0, help="number of the element in the job")
    parser.add_argument("directories", nargs="*", type=Path, help="stage directories of the interrupted step")
    given = parser.parse_args(argv)
    retry.RETRY = retry.RetryPolicy(WAITS_S)
    directories = tuple(StageDirectory(path.resolve()) for path in given.directories)
    submission = SubmissionDirectory(given.submission.resolve()) if given.submission else None
    job = Interrupted(given.element, given.restarts, directories, submission, given.job, given.index)
    try:
        print(restart(job), flush=True)
    except (InputError, OSError) as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
