"""A submission: what one command sent to SLURM, as a directory of the store.

store/submissions/20260704-101530-budget_scan/
  submission.json     the command, the jobs, the stages of each element and what these wait for
  jobs/submission.json                its second copy, read where the first is damaged
  jobs/03-answers.sbatch, .units      a batch script; what its elements make, a line each
  jobs/03-answers.sending, .job       written before sbatch: the name it has in the queue; its id, once sbatch told it
  logs/03-answers_7.txt               what element 7 printed; log.txt of its stages leads here
  probe.json          what the first job found of the store's file system (sweep/slurm/probe.py)
  code/               the code that was planned, which is the code that runs (sweep/slurm/export.py)
  pins.lock           the commits that names stood for when it was planned, if any did
  published.json      written when results/<name>/<key> was: everything is done
  closed.json         written by `sweep cancel`: nobody waits for it any more

Until one of the last two is there, the submission is open: what it makes is not removed by `sweep store prune`.
A job with `.sending` and no `.job` may be in the queue or not: it is looked up by its name before anything is sent.
Where both copies are damaged, the files of jobs/ still tell what may be in the queue (sweep/slurm/damaged.py).
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
from sweep.core.pipeline import Launch
from sweep.core.typed import typed
from sweep.errors import InputError
from sweep.json_files import CHECKSUM, StoreError, read_sealed, sealed, write_json
from sweep.slurm.jobs import SlurmJob
from sweep.store.directory import StageDirectory
from sweep.store.status_files import now

FOLDER = "submissions"
JOB_NAME = "#SBATCH --job-name="


@dataclass(frozen=True)
class Submission:
    """The content of submission.json."""

    name: str  # of the experiment
    command: str  # for people
    arguments: tuple[str, ...]  # the command line, to be planned again by the job that publishes
    here: str  # the directory where it was given: relative paths in it mean this one
    store: str
    results: str
    product: str  # the address that all this is for
    submitted_at: str
    launch: Launch
    jobs: tuple[SlurmJob, ...]
    unpinned: tuple[str, ...] = field(default=(), metadata={"omit_if": ()})  # of a dry run: why it cannot be sent
    user: str = field(default="", metadata={"omit_if": ""})  # the login name of who gave the command; "": not recorded
    uid: int = field(default=-1, metadata={"omit_if": -1})
    host: str = field(default="", metadata={"omit_if": ""})  # where it was given


class DamagedSubmission(InputError):
    """Neither submission.json nor its second copy can be read."""


@dataclass(frozen=True)
class SubmissionDirectory:
    """The paths of one submission, spelled in one place."""

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
        """Whether it was written, or anything of it may have been sent."""
        return self.submission_file.exists() or self.copy_file.exists() or bool(self.jobs_sent())

    @property
    def is_damaged(self) -> bool:
        """Whether nothing tells any more what it was; its jobs may be in the queue."""
        try:
            self.read()
        except DamagedSubmission:
            return True
        return False

    @property
    def words(self) -> str:
        """What follows `python -m sweep resume` to mean this one."""
        return f"{self.name}{store_word(self.store)}"

    def script(self, job: str) -> Path:
        return self._job_file(job, "sbatch")

    def units(self, job: str) -> Path:
        return self._job_file(job, "units")

    def read(self) -> Submission:
        """From the second copy where the first is damaged. Raises DamagedSubmission, naming its jobs, if both are."""
        for file in (self.submission_file, self.copy_file):
            if (found := _read(file)) is not None:
                return found
        ids = {job: self.ids().get(job, "id not known") for job in self.jobs_sent()}
        sent = ", ".join(f"{job_id} ({job})" for job, job_id in ids.items())
        jobs = f"Its jobs: {sent}" if sent else "None of its jobs was sent"
        raise DamagedSubmission(
            f"submission {self.name}: damaged, neither submission.json nor its second copy can be read."
            f" {jobs}. What they made is kept. Cancel it, then give its command again:"
            f" python -m sweep cancel {self.words}"
        )

    def write(self, submission: Submission) -> None:
        """The copy first: no job is ever sent that either file does not know."""
        for file in (self.copy_file, self.submission_file):
            write_json(file, sealed(canonical_fields(submission)))

    def repair(self) -> bool:
        """Write both copies whole again where one is not; whether it was the first. Nobody else may write meanwhile."""
        first, second = _read(self.submission_file), _read(self.copy_file)
        if (found := first or second) is None or (first and second):
            return False
        self.write(found)
        return first is None

    def queue_name(self, job: str, of: str) -> str:
        """What a job is called in the queue: of the experiment and the stage, and like no other of any submission."""
        unique = hashlib.sha256(f"{self.path.resolve()}\0{job}".encode(errors="surrogateescape")).hexdigest()[:10]
        plain = re.sub(r"[^A-Za-z0-9._+=-]", "-", f"{of}-{job.partition('-')[2]}")  # a comma would part two names
        return f"{plain[:150]}-{unique}"

    def sending(self, job: str, name: str) -> None:
        """Note, before sbatch is called, the name by which a job can be found in the queue."""
        _write_durably(self._job_file(job, "sending"), f"{name}\n")

    def not_sent(self, job: str) -> None:
        """Note that a job is known not to be in the queue."""
        self._job_file(job, "sending").rename(self._job_file(job, "unsent"))

    def submitted(self, job: str, job_id: str) -> None:
        """Note the id that SLURM gave a job; at once, so that none is ever out there unknown."""
        _write_durably(self._job_file(job, "job"), f"{job_id} {_check_of(job, job_id)}\n")

    def ids(self) -> dict[str, str]:
        """SLURM's ids by job, of those that were submitted. A file that is not whole counts as none."""
        found = {path.stem: _id_in(path) for path in sorted((self.path / "jobs").glob("*.job"))}
        return {job: job_id for job, job_id in found.items() if job_id is not None}

    def in_doubt(self) -> dict[str, str]:
        """Names in the queue, by job, of those of which it is not known whether SLURM took them."""
        known = self.ids()
        found = {path.stem: _text(path) for path in sorted((self.path / "jobs").glob("*.sending"))}
        return {job: name for job, name in found.items() if job not in known}

    def name_in_script(self, job: str) -> str:
        """What a job is called in the queue, as its batch script has it; "" if that cannot be read."""
        with suppress(OSError):
            for line in self.script(job).read_text(encoding="utf-8", errors="replace").splitlines():
                if line.startswith(JOB_NAME):
                    return line.removeprefix(JOB_NAME)
        return ""

    def stages_of(self, job: str) -> frozenset[str] | None:
        """Addresses of the stages that a job makes, as its units have them; None if these cannot be read."""
        try:
            lines = self.units(job).read_text(encoding="utf-8").splitlines(keepends=True)
        except (OSError, UnicodeDecodeError):
            return None
        fields = [line.rstrip("\n").split("\t") for line in lines]
        if not all(line.endswith("\n") and len(each) > 1 for line, each in zip(lines, fields, strict=True)):
            return None
        return frozenset("/".join(Path(place).parts[-2:]) for _, *places in fields for place in places)

    def jobs_sent(self) -> list[str]:
        """Names of the jobs that are, or may be, in the queue, or were."""
        return sorted({path.stem for kind in ("job", "sending") for path in (self.path / "jobs").glob(f"*.{kind}")})

    def jobs_written(self) -> list[str]:
        """Names of the jobs of which anything is written."""
        return sorted({path.stem for path in (self.path / "jobs").glob("*.units")})

    def _job_file(self, job: str, kind: str) -> Path:
        return self.path / "jobs" / f"{job}.{kind}"

    def mark(self, file: Path, **facts: str) -> None:
        """Write published.json or closed.json."""
        write_json(file, {"at": now(), **facts})


def new_directory(store: Path, name: str) -> SubmissionDirectory:
    """An empty one, named after the moment and the experiment; two in the same second do not share it."""
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
    """All of a store, the oldest first; also those of which submission.json is lost."""
    found = (SubmissionDirectory(path) for path in sorted((store / FOLDER).glob("*")))
    return [each for each in found if each.exists]


def the_submission(store: Path, name: str | None, of: Callable[[SubmissionDirectory], bool]) -> SubmissionDirectory:
    """The one of that name, or the newest of those that `of` accepts. Raises InputError if there is none."""
    known = submissions(store)
    if name is None and (newest := next(filter(of, reversed(known)), None)):
        return newest
    for each in known:
        if each.name == name:
            return each
    if not known:
        asked = f"submission {name}: not here, there are " if name else ""
        raise InputError(f"{asked}no submissions in {store}. Submit one with launch=slurm, or give store=DIR.")
    names = ", ".join(each.name for each in known[-5:])
    if name is None:
        raise InputError(f"submission: none of yours in {store}. Name the one that is meant: {names}.")
    raise InputError(f"submission {name}: not in {store}. There are: {names}.")


def awaited(store: Path) -> set[str]:
    """Addresses of what open submissions still make, and of their products, until these are published."""
    found: set[str] = set()
    for directory in (each for each in submissions(store) if each.is_open):
        try:
            submission = directory.read()
        except DamagedSubmission:  # done or not: what it publishes is among them
            found = found.union(*filter(None, map(directory.stages_of, directory.jobs_written())))
            continue
        addresses = {address for job in submission.jobs for element in job.elements for address in element.stages}
        found |= {address for address in addresses if not StageDirectory(store / address).is_done}
        found.add(submission.product)
    return found


def store_word(store: Path) -> str:
    """What a command typed here has to say of its store: nothing where it is ./store, or " store=DIR"."""
    if store.resolve() == Path("store").resolve():
        return ""
    path = str(store)
    if not re.fullmatch(r"[\w./+-]+", path, re.ASCII):
        path = "'" + path.replace("'", "\\'") + "'"  # for Hydra
    return f" {shlex.quote(f'store={path}')}"


def _read(file: Path) -> Submission | None:
    try:
        content = read_sealed(file)
        return typed(Submission, {name: value for name, value in content.items() if name != CHECKSUM})
    except (StoreError, InputError, OSError):
        return None


def _check_of(job: str, job_id: str) -> str:
    """Another id than the one that was written would be that of another job, which `cancel` would end."""
    return hashlib.sha256(f"{job} {job_id}".encode()).hexdigest()[:8]


def _id_in(path: Path) -> str | None:
    text = path.read_text(encoding="utf-8", errors="replace")
    job_id, _, check = text.removesuffix("\n").partition(" ")
    if not (job_id.isascii() and job_id.isdecimal() and text.endswith("\n")):
        return None
    return job_id if check in ("", _check_of(path.stem, job_id)) else None  # "": of before, without one


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace").strip()


def _write_durably(path: Path, text: str) -> None:
    """On the disk, name and content, before this returns; a reader sees nothing or all of it."""
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
