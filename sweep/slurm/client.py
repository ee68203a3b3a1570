"""Runs SLURM's commands: sbatch, squeue, sacct, scontrol, scancel. No other module does. One call covers all jobs.

Queries and cancellations are retried while the controller is unavailable (sweep/slurm/retry.py). sbatch is not: after
a call without an answer, sweep/slurm/send.py looks the job up before it submits again.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from sweep.accounts import account_name
from sweep.errors import InputError
from sweep.slurm import retry
from sweep.slurm.answers import (
    RESTART_FIELDS,
    SACCT_FIELDS,
    SQUEUE_FIELDS,
    associations_of,
    job_of,
    parse_restarts,
    parse_sacct,
    parse_scontrol,
    parse_squeue,
)
from sweep.slurm.retry import (
    QueueFull,
    SlurmNotFound,
    SlurmUnavailable,
    UnknownAnswer,
    is_queue_limit,
    is_refusal,
    is_transient,
)
from sweep.slurm.status import SlurmInfo

TIMEOUT_S = 120.0  # a busy controller answers slowly
ACCOUNTING_WAIT_S = 30.0  # then scontrol, which remembers recent jobs, is used instead
ACCOUNTING_DAYS = 30  # how far back accounting is searched for a job name
REJECTED_REASON = "BadConstraints"  # the reason of a job that SLURM rejected but still lists
CLUSTER_VARIABLES = (
    "SLURM_CONF",
    "SLURM_CONF_SERVER",
    "SLURM_CLUSTERS",
    "SLURM_JWT",
)  # every other SLURM_* variable describes a job
ENVIRONMENT_NAMES = {  # options whose SBATCH_* variable has another name
    "array": ("ARRAY_INX",),
    "mem": ("MEM_PER_NODE", "MEM_PER_CPU", "MEM_PER_GPU"),
    "requeue": ("REQUEUE", "NO_REQUEUE"),
    "time": ("TIMELIMIT",),
}
IGNORED_VARIABLES = {
    "SBATCH_CLUSTERS",
    "SBATCH_ARRAY_INX",
    "SBATCH_WAIT",
}  # they change the cluster or the array, or block the call
JOB_ID = re.compile(r"(\d+)(?:;[\w.-]+)?", re.ASCII)  # in a federation, ";CLUSTER" follows


def refuse_without_slurm() -> None:
    """Check that sbatch exists before anything is downloaded or written. Raises InputError."""
    _query("sbatch", "--version")


def sbatch(script: Path, arguments: Sequence[str], dependency: str | None) -> str:
    """Submit one script and return its job id; never retried here.

    Raises InputError with SLURM's message if the job is refused, SlurmUnavailable if the job may or may not have been
    accepted, and its subclass UnknownAnswer if the message is in neither list of sweep/slurm/retry.py.
    """
    wait = [f"--dependency={dependency}"] if dependency else []
    environment = _without_script_options(script, login_environment(os.environ))
    done = _run("sbatch", "--parsable", *wait, str(script), *arguments, environment=environment)
    ids = {found[1] for line in done.stdout.splitlines() if (found := JOB_ID.fullmatch(line.strip()))}
    if not done.returncode:
        if len(ids) != 1:  # other lines may be a login message
            last = done.stdout.strip().rpartition("\n")[2]
            raise UnknownAnswer(f"sbatch: answered {last!r}, which is not a job id.")
        return ids.pop()
    message = _error_message(done)
    if is_refusal(message) and not ids:
        if is_queue_limit(message):
            raise QueueFull(f"sbatch: {message}.")
        raise InputError(f"sbatch: {message}. Correct the launch setting that it names.")
    if done.returncode < 0 or is_transient(message):
        raise SlurmUnavailable(f"sbatch: {message}.")
    printed = f" It still printed the job id {', '.join(sorted(ids))}." if ids else ""
    raise UnknownAnswer(f"sbatch: {message}.{printed}")


def test_only(script: Path) -> str | None:
    """What sbatch has against a script, which is not submitted; None: it would be accepted."""
    environment = _without_script_options(script, login_environment(os.environ))
    done = _run("sbatch", "--test-only", str(script), environment=environment)
    return _error_message(done) if done.returncode else None


def find_job(name: str) -> str | None:
    """The id of the job with this name, including finished jobs; None if there is none.

    Not retried here. Raises SlurmUnavailable if the controller does not answer: only it knows pending and running jobs.
    """
    options = ("--all", "--states=all", f"--name={name}", "--format=%F|%j|%r")
    rows = [row.split("|") for row in _query_once("squeue", "--noheader", *options).splitlines()]
    known = {row[0]: row[2:] for row in rows if len(row) >= 2 and row[1] == name and is_id(row[0])}
    ids = [job_id for job_id, reason in known.items() if reason != [REJECTED_REASON]]
    if not known:
        ids = _find_in_accounting(name)
    return min(ids, key=int, default=None)


def _find_in_accounting(name: str) -> list[str]:
    since = f"--starttime=now-{ACCOUNTING_DAYS}days"
    try:
        rows = _query_once(
            "sacct", "-X", "--noheader", "--parsable2", f"--name={name}", since, "--format=JobID,JobName"
        )
    except InputError:  # accounting is unavailable; the job is not in the queue, so it has ended or was never accepted
        return []
    found = [row.partition("|")[::2] for row in rows.splitlines()]
    return [job_id for element, job_name in found if job_name == name and is_id(job_id := element.partition("_")[0])]


def is_id(text: str) -> bool:
    """Whether this is a job ID and not a line of a login message."""
    return text.isascii() and text.isdecimal()


def login_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without the variables of a job, which sbatch would pass on when it is called from inside one.

    SLURM_ARRAY_TASK_ID would select the wrong element, and SLURM_MEM_PER_CPU would make srun fail.
    """
    return {
        name: value for name, value in environment.items() if not name.startswith("SLURM_") or name in CLUSTER_VARIABLES
    }


def _without_script_options(script: Path, environment: dict[str, str]) -> dict[str, str]:
    """Drop SBATCH_* variables whose option the script sets: for sbatch the environment overrides the script."""
    lines = script.read_text(encoding="utf-8").splitlines()
    options = {line.removeprefix("#SBATCH --").partition("=")[0] for line in lines if line.startswith("#SBATCH --")}
    set_by_script = {
        f"SBATCH_{name}"
        for each in options
        for name in (ENVIRONMENT_NAMES.get(each) or (each.upper().replace("-", "_"),))
    }
    return {name: value for name, value in environment.items() if name not in set_by_script | IGNORED_VARIABLES}


def ask(*command: str) -> str | None:
    """Output of a command that changes nothing; None if there is no such command here, or it fails."""
    try:
        return _query(*command)
    except InputError:
        return None


def scancel(ids: Sequence[str]) -> None:
    """Cancel jobs, including all elements of arrays; finished jobs are ignored."""
    if ids:
        _query("scancel", "--quiet", *ids)


def requeue(element: str) -> None:
    """Put a running job or array element back into the queue. Raises InputError if that is not allowed."""
    _query("scontrol", "requeue", element)


def delay(element: str, seconds: int) -> None:
    """Let a pending job or array element start no earlier than this. Raises InputError."""
    _query("scontrol", "update", f"JobId={element}", f"StartTime=now+{seconds}")


def own_elements() -> int | None:
    """How many elements this user has in the queue, of all submissions; None if squeue does not answer."""
    try:
        text = _query("squeue", "--me", "--noheader", "--all", "--array", "--format=%i")
    except InputError:
        return None
    return sum(job_of(row.strip()) is not None for row in text.splitlines())


def max_submit_jobs(account: str | None, qos: str | None) -> int | None:
    """The least limit of submitted jobs of this user's associations on this cluster and QOS; None if none is known.

    Array elements count as jobs. Without an account, all accounts of the user count.
    """
    fields = "format=Account,DefaultQOS,MaxSubmitJobs"
    try:
        text = _query_once("sacctmgr", "--noheader", "--parsable2", "show", "associations", *own_associations(), fields)
        asked = associations_of(text, account)
        names = ",".join(dict.fromkeys(qos or each.default_qos for each in asked)).strip(",") or "normal"
        fields = "format=MaxSubmitJobsPerUser"
        of_qos = _query_once("sacctmgr", "--noheader", "--parsable2", "show", "qos", names, fields).split()
    except InputError:  # no accounting, or no access to it
        return None
    found = [int(each) for each in (*(each.max_submit_jobs for each in asked), *of_qos) if is_id(each)]
    return min(found, default=None)


def own_associations() -> tuple[str, ...]:
    """What selects this user's associations in sacctmgr; without those of other clusters, if this one has a name."""
    name = _configured("ClusterName", r"[\w.-]+")
    return (f"user={account_name(os.geteuid())}", *([f"cluster={name}"] if name else []))


def max_array_size() -> int | None:
    """The longest array that the cluster allows; None if there is no SLURM here."""
    found = _configured("MaxArraySize", r"\d{1,9}")
    return max(1, int(found)) if found else None


def _configured(name: str, form: str) -> str | None:
    """A value of slurm.conf; None if there is no SLURM here, or the value has another form."""
    lines = (ask("scontrol", "show", "config") or "").splitlines()
    found = [re.fullmatch(rf"{name}\s*=\s*({form})", line.strip(), re.ASCII) for line in lines]
    return next((each[1] for each in found if each), None)


def queued_jobs(ids: Sequence[str]) -> dict[str, SlurmInfo] | None:
    """Those of these jobs that are pending or running, by "17" or "17_3"; None if squeue does not answer.

    Other lines are skipped: squeue prints a heading for each of several clusters, and a login message may be mixed in.
    """
    if not ids:
        return {}
    try:
        text = _query("squeue", *_array_elements(ids), f"--format={SQUEUE_FIELDS}")
    except InputError as error:
        return {} if "Invalid job id" in str(error) else None  # all of these jobs have left the queue
    return parse_squeue(text, ids)


def restart_counts(ids: Sequence[str]) -> dict[str, int]:
    """How often the elements in the queue were restarted; empty if squeue does not tell."""
    if not ids:
        return {}
    try:
        return parse_restarts(_query_once("squeue", *_array_elements(ids), f"--Format={RESTART_FIELDS}"))
    except InputError:
        return {}


def _array_elements(ids: Sequence[str]) -> tuple[str, ...]:
    return "--noheader", "--all", "--array", f"--jobs={','.join(ids)}"


def ended_jobs(ids: Sequence[str]) -> tuple[dict[str, SlurmInfo], str]:
    """How jobs ended that squeue does not list completely, and the commands that reported it; "" if there are none.

    sacct, where there is accounting; otherwise scontrol, which remembers recent jobs. scontrol is also asked about jobs
    that sacct does not know, or still reports as pending or running: accounting lags behind, and a lost message leaves
    a job running there for ever. An element that is in none of the answers has ended, in an unknown state.
    """
    if not ids:
        return {}, ""
    try:
        command = ("sacct", "--duplicates", "--noheader", "--parsable2", f"--jobs={','.join(ids)}")
        text = retry.RETRY.call(lambda: _query_once(*command, f"--format={SACCT_FIELDS}"), most_s=ACCOUNTING_WAIT_S)
    except InputError:  # no accounting on this cluster, or it is down
        reported = _ended_by_scontrol(ids)
        return ({}, "") if reported is None else (reported, "scontrol")
    found = parse_sacct(text)
    ended = {name: seen for name, seen in found.items() if not seen.is_alive}
    known = {job_of(name) for name in ended} - {job_of(name) for name in found.keys() - ended.keys()}
    doubtful = [each for each in ids if each not in known]
    if doubtful and (reported := _ended_by_scontrol(doubtful)) is not None:
        return {**reported, **ended}, "sacct with scontrol"
    return ended, "sacct"


def _ended_by_scontrol(ids: Sequence[str]) -> dict[str, SlurmInfo] | None:
    """None if there is no scontrol here."""
    found: dict[str, SlurmInfo] = {}
    for job_id in ids:
        try:
            found |= parse_scontrol(_query("scontrol", "show", "job", "--oneliner", job_id), job_id)
        except SlurmNotFound:
            return None
        except InputError:  # the controller has forgotten the job
            continue
    return found


def _query(*command: str) -> str:
    """Output of a command, retried while the controller is unavailable. Raises InputError."""
    return retry.RETRY.call(lambda: _query_once(*command))


def _query_once(*command: str) -> str:
    """Output of a command. Raises SlurmUnavailable for temporary errors, InputError for permanent ones."""
    done = _run(*command)
    if done.returncode:
        message = _error_message(done)
        if done.returncode < 0 or is_transient(message):
            raise SlurmUnavailable(f"{command[0]}: {message}.")
        raise InputError(f"{command[0]}: {message}. Run {command[0]} by hand to see what is wrong.")
    return done.stdout


def _run(*command: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Raises SlurmNotFound if there is no such command, SlurmUnavailable if it times out."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=TIMEOUT_S, env=environment
        )
    except (FileNotFoundError, PermissionError):
        raise SlurmNotFound(f"{command[0]}: not found here. Run this on a login node of a SLURM cluster.") from None
    except subprocess.TimeoutExpired:
        raise SlurmUnavailable(f"{command[0]}: no answer in {TIMEOUT_S:.0f} s. Try again later.") from None


def _error_message(done: subprocess.CompletedProcess[str]) -> str:
    """The error message of a failed command, on one line."""
    message = " ".join("".join(c if c.isprintable() else " " for c in done.stderr or done.stdout).split()).rstrip(".")
    return message or (f"ended by signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}")
