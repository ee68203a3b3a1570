"""A submission: everything that one command sent to SLURM, as a directory of the store.

store/submissions/20260704-101530-budget_scan/
  submission.json     the command, its jobs, the stages of each element and what they wait for
  jobs/submission.json                a second copy, read if the first is damaged
  jobs/03-traces.sbatch, .units       a batch script, and a list of the stages of its elements, one process per line
  jobs/03-traces.sending, .job        the job's queue name, written before sbatch; its id, written after
  logs/03-traces_7.txt                output of element 7; log.txt of its stages links here
  waves.json          while elements wait outside the queue for the next wave (sweep/slurm/feed.py)
  probe.json          checks of the store by the first job (sweep/slurm/probe.py)
  code/               the planned code, which the jobs run (sweep/slurm/export.py)
  pins.lock           the commits that names stood for at planning time, if any
  published.json      written with results/<name>/<key>: everything is done
  closed.json         written by `sweep cancel`: nothing waits for the submission any more

Until one of the last two exists, the submission is open, and `sweep store prune` keeps its stages. A job with .sending
but no .job is unconfirmed: it may or may not be in the queue, and is looked up by name before anything is submitted.
If both copies are damaged, the files in jobs/ still identify the jobs in the queue (sweep/slurm/damaged.py).
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sweep.core.identity import canonical_fields
from sweep.core.launch import Launch, with_kinds
from sweep.core.typed import typed
from sweep.errors import InputError
from sweep.json_files import CHECKSUM, StoreError, read_sealed, sealed, write_json
from sweep.plain_values import is_table
from sweep.slurm.jobs import SlurmJob
from sweep.store.directory import StageDirectory
from sweep.store.status_files import now

FOLDER = "submissions"
JOB_NAME = "#SBATCH --job-name="


@dataclass(frozen=True)
class Submission:
    """The content of submission.json."""

    name: str  # name of the experiment
    command: str  # as shown to users
    arguments: tuple[str, ...]  # the command line, which the publishing job plans again
    here: str  # working directory of the command, for its relative paths
    store: str
    results: str
    product: str  # address of the final stage
    submitted_at: str
    launch: Launch
    jobs: tuple[SlurmJob, ...]
    unpinned: tuple[str, ...] = field(default=(), metadata={"omit_if": ()})  # for a dry run: why it cannot be submitted
    user: str = field(default="", metadata={"omit_if": ""})  # login name of the submitting user; "" if not recorded
    uid: int = field(default=-1, metadata={"omit_if": -1})
    host: str = field(default="", metadata={"omit_if": ""})  # where it was submitted


class DamagedSubmission(InputError):
    """Neither submission.json nor its second copy can be read."""


@dataclass(frozen=True)
class SubmissionDirectory:
    """Paths and files of one submission."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def submission_file(self) -> Path:
        return self.path / "submission.json"

    @property
    def copy_file(self) -> Path:
        return self.path / "jobs" / "submission.json"

    @property
    def published_file(self) -> Path:
        return self.path / "published.json"

    @property
    def closed_file(self) -> Path:
        return self.path / "closed.json"

    @property
    def probe_file(self) -> Path:
        return self.path / "probe.json"

    @property
    def waves_file(self) -> Path:
        return self.path / "waves.json"

    @property
    def lock_file(self) -> Path:
        return self.path / "lock"

    @property
    def pins_file(self) -> Path:
        return self.path / "pins.lock"

    @property
    def code(self) -> Path:
        return self.path / "code"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def store(self) -> Path:
        return self.path.parents[1]

    @property
    def is_open(self) -> bool:
        return not self.published_file.exists() and not self.closed_file.exists()

    @property
    def exists(self) -> bool:
        """Whether it was written, or any of its jobs may have been submitted."""
        return self.submission_file.exists() or self.copy_file.exists() or bool(self.jobs_sent())

    @property
    def is_damaged(self) -> bool:
        """Whether both copies of submission.json are unreadable; its jobs may still be in the queue."""
        try:
            self.read()
        except DamagedSubmission:
            return True
        return False

    @property
    def arguments(self) -> str:
        """The arguments of `python -m sweep resume` that select this submission."""
        return f"{self.name}{store_argument(self.store)}"

    def script(self, job: str) -> Path:
        return self._job_file(job, "sbatch")

    def units(self, job: str) -> Path:
        return self._job_file(job, "units")

    def read(self) -> Submission:
        """Read submission.json or its second copy. Raises DamagedSubmission, naming the jobs, if both are damaged."""
        for file in (self.submission_file, self.copy_file):
            if (found := _read(file)) is not None:
                return found
        ids = {job: self.ids().get(job, "id unknown") for job in self.jobs_sent()}
        sent = ", ".join(f"{job_id} ({job})" for job, job_id in ids.items())
        jobs = f"Its jobs: {sent}" if sent else "None of its jobs was submitted"
        raise DamagedSubmission(
            f"submission {self.name}: damaged, neither submission.json nor its second copy can be read."
            f" {jobs}. Finished stages are kept. Cancel it, then run its command again:"
            f" python -m sweep cancel {self.arguments}"
        )

    def write(self, submission: Submission) -> None:
        """Write both files, the copy first, before any job is submitted."""
        for file in (self.copy_file, self.submission_file):
            write_json(file, sealed(canonical_fields(submission)))

    def repair(self) -> bool:
        """Restore a damaged copy from the other; True if it was submission.json. The caller must hold the lock."""
        first, second = _read(self.submission_file), _read(self.copy_file)
        if (found := first or second) is None or (first and second):
            return False
        self.write(found)
        return first is None

    def queue_name(self, job: str, of: str) -> str:
        """The job's name in the queue: experiment, stage and a hash that is unique to this submission and job."""
        unique = hashlib.sha256(f"{self.path.resolve()}\0{job}".encode(errors="surrogateescape")).hexdigest()[:10]
        plain = re.sub(r"[^A-Za-z0-9._+=-]", "-", f"{of}-{job.partition('-')[2]}")  # a comma would separate two names
        return f"{plain[:150]}-{unique}"

    def mark_sending(self, job: str, name: str) -> None:
        """Persist the job's queue name before sbatch is called, so that it can be looked up."""
        _write_durably(self._job_file(job, "sending"), f"{name}\n")

    def mark_unsent(self, job: str) -> None:
        """Record that the job is not in the queue."""
        self._job_file(job, "sending").rename(self._job_file(job, "unsent"))

    def record_id(self, job: str, job_id: str) -> None:
        """Persist the SLURM job id immediately, so a crash never orphans a job."""
        _write_durably(self._job_file(job, "job"), f"{job_id} {_checksum(job, job_id)}\n")

    def ids(self) -> dict[str, str]:
        """SLURM ids of submitted jobs, by job; incomplete files are ignored."""
        found = {path.stem: _id_in(path) for path in sorted((self.path / "jobs").glob("*.job"))}
        return {job: job_id for job, job_id in found.items() if job_id is not None}

    def unconfirmed(self) -> dict[str, str]:
        """Queue names, by job, of jobs that SLURM may or may not have accepted."""
        known = self.ids()
        found = {path.stem: _text(path) for path in sorted((self.path / "jobs").glob("*.sending"))}
        return {job: name for job, name in found.items() if job not in known}

    def name_in_script(self, job: str) -> str:
        """The queue name of a job from its batch script; "" if that cannot be read."""
        with suppress(OSError):
            for line in self.script(job).read_text(encoding="utf-8", errors="replace").splitlines():
                if line.startswith(JOB_NAME):
                    return line.removeprefix(JOB_NAME)
        return ""

    def stages_of(self, job: str) -> frozenset[str] | None:
        """Addresses of the stages of a job, from its .units file; None if that cannot be read.

        A line with an empty second field separates the units of a packed element.
        """
        try:
            lines = self.units(job).read_text(encoding="utf-8").splitlines(keepends=True)
        except (OSError, UnicodeDecodeError):
            return None
        fields = [line.rstrip("\n").split("\t") for line in lines]
        if not all(line.endswith("\n") and len(each) > 1 for line, each in zip(lines, fields, strict=True)):
            return None
        return frozenset("/".join(Path(place).parts[-2:]) for _, *places in fields for place in places if place)

    def remove_files(self, job: str) -> None:
        """Remove the files of a job that was never submitted."""
        for kind in ("sbatch", "units", "unsent"):
            self._job_file(job, kind).unlink(missing_ok=True)

    def jobs_sent(self) -> list[str]:
        """Names of the jobs that were, or may have been, submitted."""
        return sorted({path.stem for kind in ("job", "sending") for path in (self.path / "jobs").glob(f"*.{kind}")})

    def jobs_written(self) -> list[str]:
        """Names of the jobs whose files are written."""
        return sorted({path.stem for path in (self.path / "jobs").glob("*.units")})

    def _job_file(self, job: str, kind: str) -> Path:
        return self.path / "jobs" / f"{job}.{kind}"

    def write_marker(self, file: Path, **facts: str) -> None:
        """Write published.json or closed.json."""
        write_json(file, {"at": now(), **facts})


def new_directory(store: Path, name: str) -> SubmissionDirectory:
    """Create an empty directory named after the time and the experiment, unique even within one second."""
    stem = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{name}"
    for number in range(1, 1000):
        path = store / FOLDER / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        for folder in ("jobs", "logs"):
            (path / folder).mkdir()
        return SubmissionDirectory(path)
    raise InputError(f"store {store}: a thousand submissions in one second. Wait a moment.")


def submissions(store: Path) -> list[SubmissionDirectory]:
    """All submissions of a store, oldest first, including damaged ones."""
    found = (SubmissionDirectory(path) for path in sorted((store / FOLDER).glob("*")))
    return [each for each in found if each.exists]


def find_submission(
    store: Path, name: str | None, accepts: Callable[[SubmissionDirectory], bool]
) -> SubmissionDirectory:
    """The submission of that name, or the newest that `accepts` selects. Raises InputError if there is none."""
    known = submissions(store)
    if name is None and (newest := next(filter(accepts, reversed(known)), None)):
        return newest
    for each in known:
        if each.name == name:
            return each
    if not known:
        subject = f"submission {name}: not found, there are " if name else ""
        raise InputError(f"{subject}no submissions in {store}. Submit one with launch=slurm, or give store=DIR.")
    names = ", ".join(each.name for each in known[-5:])
    if name is None:
        raise InputError(f"submission: none of yours in {store}. Name one: {names}.")
    raise InputError(f"submission {name}: not in {store}. There are: {names}.")


def pending_stages(store: Path) -> set[str]:
    """Addresses of the unfinished stages of open submissions, and of their final stages."""
    found: set[str] = set()
    for directory in (each for each in submissions(store) if each.is_open):
        try:
            submission = directory.read()
        except DamagedSubmission:  # its final stage is unknown, so keep all its stages
            found = found.union(*filter(None, map(directory.stages_of, directory.jobs_written())))
            continue
        addresses = {address for job in submission.jobs for element in job.elements for address in element.stages}
        found |= {address for address in addresses if not StageDirectory(store / address).is_done}
        found.add(submission.product)
    return found


def store_argument(store: Path) -> str:
    """The argument that selects this store from here: " store=DIR", or "" for ./store."""
    if store.resolve() == Path("store").resolve():
        return ""
    path = str(store)
    if not re.fullmatch(r"[\w./+-]+", path, re.ASCII):
        path = "'" + path.replace("'", "\\'") + "'"  # for Hydra
    return f" {shlex.quote(f'store={path}')}"


def _read(file: Path) -> Submission | None:
    try:
        content = read_sealed(file)
        fields = {name: value for name, value in content.items() if name != CHECKSUM}
        if is_table(launch := fields.get("launch")):
            fields["launch"] = with_kinds(launch)
        return typed(Submission, fields)
    except (StoreError, InputError, OSError):
        return None


def _checksum(job: str, job_id: str) -> str:
    """Checksum of a job id: a corrupted id could be another job's, which `cancel` would then cancel."""
    return hashlib.sha256(f"{job} {job_id}".encode()).hexdigest()[:8]


def _id_in(path: Path) -> str | None:
    text = path.read_text(encoding="utf-8", errors="replace")
    job_id, _, check = text.removesuffix("\n").partition(" ")
    if not (job_id.isascii() and job_id.isdecimal() and text.endswith("\n")):
        return None
    return job_id if check in ("", _checksum(path.stem, job_id)) else None  # "": written before checksums existed


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace").strip()


def _write_durably(path: Path, text: str) -> None:
    """Write a file atomically and sync file and folder to disk."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with aside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
