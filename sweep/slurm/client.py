"""Runs SLURM's commands: sbatch, squeue, sacct, scontrol, scancel. No other module does. One call covers all jobs.

Queries and cancellations are retried while the controller is unavailable (sweep/slurm/retry.py). sbatch is not: after
a call without an answer, sweep/slurm/send.py looks the job up before it submits again.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from sweep.errors import InputError
from sweep.slurm import retry
from sweep.slurm.retry import SlurmNotFound, SlurmUnavailable, UnknownAnswer, is_refusal, is_transient
from sweep.slurm.status import SlurmInfo, expand_elements

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
STATE = re.compile(r"[A-Z][A-Z_]*")


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


def max_array_size() -> int | None:
    """The longest array that the cluster allows; None if there is no SLURM here."""
    try:
        lines = _query("scontrol", "show", "config").splitlines()
    except InputError:
        return None
    found = [re.fullmatch(r"MaxArraySize\s*=\s*(\d{1,9})", line.strip(), re.ASCII) for line in lines]
    return next((max(1, int(each[1])) for each in found if each), None)


def queued_jobs(ids: Sequence[str]) -> dict[str, SlurmInfo] | None:
    """Those of these jobs that are pending or running, by "17" or "17_3"; None if squeue does not answer.

    Other lines are skipped: squeue prints a heading for each of several clusters, and a login message may be mixed in.
    """
    if not ids:
        return {}
    try:
        text = _query("squeue", "--noheader", "--all", "--array", f"--jobs={','.join(ids)}", "--format=%i|%T|%M|%r|%N")
    except InputError as error:
        return {} if "Invalid job id" in str(error) else None  # all of these jobs have left the queue
    rows = [row for row in map(_fields, text.splitlines()) if len(row) > 1 and _job_of(row[0]) in ids]
    if not all(len(row) == 5 and STATE.fullmatch(row[1]) for row in rows):
        return None  # a job without a state must not count as lost
    return {name: SlurmInfo(state, reason, elapsed, nodes) for name, state, elapsed, reason, nodes in rows}


def _fields(row: str) -> list[str]:
    return [each.strip() for each in row.split("|")]


def _job_of(name: str) -> str | None:
    """The job ID "17" of 17, 17_3 or 17_[0-2]; None if this is not an ID."""
    found = re.fullmatch(r"(\d+)(?:_(?:\d+|\[[\d,:%-]+\]))?", name, re.ASCII)
    return found[1] if found else None


def ended_jobs(ids: Sequence[str]) -> tuple[dict[str, SlurmInfo], str]:
    """How jobs ended, and the command that reported it: sacct, or, without accounting, scontrol for recent jobs."""
    if not ids:
        return {}, ""
    fields = "--format=JobID,State,Elapsed,ExitCode,NodeList"
    try:
        command = ("sacct", "-X", "--noheader", "--parsable2", f"--jobs={','.join(ids)}", fields)
        rows = retry.RETRY.call(lambda: _query_once(*command), most_s=ACCOUNTING_WAIT_S).splitlines()
        return dict(_parse_sacct(rows)), "sacct"
    except InputError:  # no accounting on this cluster, or it is down
        return {name: seen for each in ids for name, seen in _ended_by_scontrol(each)}, "scontrol"


def _parse_sacct(rows: Iterable[str]) -> Iterator[tuple[str, SlurmInfo]]:
    """Final states by element; skips lines that are not JobID|State|Elapsed|ExitCode|NodeList."""
    for fields in map(_fields, rows):
        if len(fields) != 5 or _job_of(fields[0]) is None or not fields[1]:
            continue
        name, state, elapsed, status, nodes = fields
        yield from (
            (each, SlurmInfo(state.split()[0], f"exit {status}", elapsed, nodes)) for each in expand_elements(name)
        )


def _ended_by_scontrol(job_id: str) -> Iterator[tuple[str, SlurmInfo]]:
    try:
        lines = _query("scontrol", "show", "job", "--oneliner", job_id).splitlines()
    except InputError:  # the controller has forgotten the job
        return
    for line in lines:
        facts = {name: value for name, _, value in (word.partition("=") for word in line.split() if "=" in word)}
        if "JobState" not in facts or not is_id(facts.get("JobId", "")):
            continue
        name = f"{job_id}_[{facts['ArrayTaskId']}]" if "ArrayTaskId" in facts else job_id
        reason = facts.get("Reason", "None")
        why = reason if reason != "None" else f"exit {facts.get('ExitCode', '?')}"
        seen = SlurmInfo(facts["JobState"], why, facts.get("RunTime", ""), facts.get("NodeList", ""))
        yield from ((each, seen) for each in expand_elements(name))


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
