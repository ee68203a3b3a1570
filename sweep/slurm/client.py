"""The doorway to SLURM's commands: sbatch, squeue, sacct, scontrol, scancel. One call for all jobs, not one each.

What only asks or cancels is repeated while the controller is away (sweep/slurm/patience.py). sbatch is not: what
became of a call without an answer is looked up before another is made (sweep/slurm/send.py).
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from sweep.errors import InputError
from sweep.slurm import patience
from sweep.slurm.patience import NoCommand, QueueAway, Unclear, is_refusal, is_transient
from sweep.slurm.status import SlurmInfo, elements_of

TIMEOUT_S = 120.0  # a busy controller answers late
ACCOUNTING_WAIT_S = 30.0  # without accounting the controller still knows how recent jobs ended
REMEMBERED_DAYS = 30  # how far back accounting is searched for a job by its name
REFUSED = "BadConstraints"  # why a job ended that SLURM did not take, and remembers all the same
OF_CLUSTER = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT")  # the rest is of a job
SPELLED = {  # what the environment calls options by other names
    "array": ("ARRAY_INX",),
    "mem": ("MEM_PER_NODE", "MEM_PER_CPU", "MEM_PER_GPU"),
    "requeue": ("REQUEUE", "NO_REQUEUE"),
    "time": ("TIMELIMIT",),
}
NEVER_MEANT = {"SBATCH_CLUSTERS", "SBATCH_ARRAY_INX", "SBATCH_WAIT"}  # elsewhere, another shape, no return
JOB_ID = re.compile(r"(\d+)(?:;[\w.-]+)?", re.ASCII)  # with the cluster, where there are several
STATE = re.compile(r"[A-Z][A-Z_]*")


def refuse_without_slurm() -> None:
    """Raises InputError where nothing can be submitted, before anything is fetched or written for it."""
    _ask("sbatch", "--version")


def sbatch(script: Path, arguments: Sequence[str], dependency: str | None) -> str:
    """Send one script; its job id. Called once: Raises InputError with SLURM's own words if it is refused, QueueAway if
    nobody can tell whether it was taken, of it Unclear where that is said in unknown words.
    """
    wait = [f"--dependency={dependency}"] if dependency else []
    environment = _but_for_what_it_says(script, of_login(os.environ))
    done = _called("sbatch", "--parsable", *wait, str(script), *arguments, environment=environment)
    ids = {found[1] for line in done.stdout.splitlines() if (found := JOB_ID.fullmatch(line.strip()))}
    if not done.returncode:
        if len(ids) != 1:  # among whatever the site greets with
            last = done.stdout.strip().rpartition("\n")[2]
            raise Unclear(f"sbatch: answered {last!r}, which is no job id.")
        return ids.pop()
    said = _words_of(done)
    if is_refusal(said) and not ids:
        raise InputError(f"sbatch: {said}. Correct the launch settings or the site.")
    if done.returncode < 0 or is_transient(said):
        raise QueueAway(f"sbatch: {said}.")
    printed = f" It printed the job id {', '.join(sorted(ids))} all the same." if ids else ""
    raise Unclear(f"sbatch: {said}.{printed}")


def find_jobs(name: str) -> str | None:
    """The id of the job of that name, also of one that has ended; None: there is none.

    Called once. Raises QueueAway if the controller does not answer: it alone knows what waits or runs.
    """
    asked = ("--all", "--states=all", f"--name={name}", "--format=%F|%j|%r")
    rows = [row.split("|") for row in _ask_once("squeue", "--noheader", *asked).splitlines()]
    known = {row[0]: row[2:] for row in rows if len(row) >= 2 and row[1] == name and is_id(row[0])}
    ids = [job_id for job_id, reason in known.items() if reason != [REFUSED]]
    if not known:
        ids = _accounted(name)
    return min(ids, key=int, default=None)


def _accounted(name: str) -> list[str]:
    since = f"--starttime=now-{REMEMBERED_DAYS}days"
    try:
        rows = _ask_once("sacct", "-X", "--noheader", "--parsable2", f"--name={name}", since, "--format=JobID,JobName")
    except InputError:  # it has ended, if it ever was: the controller does not know it
        return []
    found = [row.partition("|")[::2] for row in rows.splitlines()]
    return [job_id for element, of in found if of == name and is_id(job_id := element.partition("_")[0])]


def is_id(text: str) -> bool:
    """Whether this is the number of a job, not what a site greets with."""
    return text.isascii() and text.isdecimal()


def of_login(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without that of a job: a person may submit from within one, and sbatch hands it on.

    SLURM_ARRAY_TASK_ID would choose the wrong element, SLURM_MEM_PER_CPU make srun refuse.
    """
    return {name: value for name, value in environment.items() if not name.startswith("SLURM_") or name in OF_CLUSTER}


def _but_for_what_it_says(script: Path, environment: dict[str, str]) -> dict[str, str]:
    """Without SBATCH_PARTITION and its like where the script names one: to sbatch the environment would count more."""
    lines = script.read_text(encoding="utf-8").splitlines()
    options = {line.removeprefix("#SBATCH --").partition("=")[0] for line in lines if line.startswith("#SBATCH --")}
    said = {f"SBATCH_{name}" for each in options for name in (SPELLED.get(each) or (each.upper().replace("-", "_"),))}
    return {name: value for name, value in environment.items() if name not in said | NEVER_MEANT}


def scancel(ids: Sequence[str]) -> None:
    """Cancel jobs, arrays with all their elements; those that have ended are passed over."""
    if ids:
        _ask("scancel", "--quiet", *ids)


def max_array_size() -> int | None:
    """How many elements an array may have here; None: no SLURM here that could tell."""
    try:
        lines = _ask("scontrol", "show", "config").splitlines()
    except InputError:
        return None
    found = [re.fullmatch(r"MaxArraySize\s*=\s*(\d{1,9})", line.strip(), re.ASCII) for line in lines]
    return next((max(1, int(each[1])) for each in found if each), None)


def in_queue(ids: Sequence[str]) -> dict[str, SlurmInfo] | None:
    """What is waiting or running of these jobs, by "17" or "17_3"; None: no squeue answers here.

    Lines that are not about one of them are passed over: of several clusters each has a heading, and sites greet.
    """
    if not ids:
        return {}
    try:
        text = _ask("squeue", "--noheader", "--all", "--array", f"--jobs={','.join(ids)}", "--format=%i|%T|%M|%r|%N")
    except InputError as error:
        return {} if "Invalid job id" in str(error) else None  # it knows none of them any more
    rows = [row for row in map(_fields, text.splitlines()) if len(row) > 1 and _job_of(row[0]) in ids]
    if not all(len(row) == 5 and STATE.fullmatch(row[1]) for row in rows):
        return None  # of a job that it knows it does not say how it stands: not to be taken for lost
    return {name: SlurmInfo(state, reason, elapsed, nodes) for name, state, elapsed, reason, nodes in rows}


def _fields(row: str) -> list[str]:
    return [each.strip() for each in row.split("|")]


def _job_of(name: str) -> str | None:
    """ "17" of 17, 17_3 or 17_[0-2]; None: it is no id."""
    found = re.fullmatch(r"(\d+)(?:_(?:\d+|\[[\d,:%-]+\]))?", name, re.ASCII)
    return found[1] if found else None


def ended(ids: Sequence[str]) -> tuple[dict[str, SlurmInfo], str]:
    """How jobs ended, as accounting tells it, or else as far as the controller remembers; and who told it."""
    if not ids:
        return {}, ""
    fields = "--format=JobID,State,Elapsed,ExitCode,NodeList"
    try:
        command = ("sacct", "-X", "--noheader", "--parsable2", f"--jobs={','.join(ids)}", fields)
        rows = patience.PATIENCE.repeat(lambda: _ask_once(*command), most_s=ACCOUNTING_WAIT_S).splitlines()
        return dict(_of_sacct(rows)), "sacct"
    except InputError:  # no accounting on this cluster, or none at the moment
        return {name: seen for each in ids for name, seen in _remembered(each)}, "scontrol"


def _of_sacct(rows: Iterable[str]) -> Iterator[tuple[str, SlurmInfo]]:
    """Lines that are not of that form are passed over."""
    for fields in map(_fields, rows):
        if len(fields) != 5 or _job_of(fields[0]) is None or not fields[1]:
            continue
        name, state, elapsed, status, nodes = fields
        yield from ((each, SlurmInfo(state.split()[0], f"exit {status}", elapsed, nodes)) for each in elements_of(name))


def _remembered(job_id: str) -> Iterator[tuple[str, SlurmInfo]]:
    try:
        lines = _ask("scontrol", "show", "job", "--oneliner", job_id).splitlines()
    except InputError:  # forgotten
        return
    for line in lines:
        facts = {name: value for name, _, value in (word.partition("=") for word in line.split() if "=" in word)}
        if "JobState" not in facts or not is_id(facts.get("JobId", "")):
            continue
        name = f"{job_id}_[{facts['ArrayTaskId']}]" if "ArrayTaskId" in facts else job_id
        reason = facts.get("Reason", "None")
        why = reason if reason != "None" else f"exit {facts.get('ExitCode', '?')}"
        seen = SlurmInfo(facts["JobState"], why, facts.get("RunTime", ""), facts.get("NodeList", ""))
        yield from ((each, seen) for each in elements_of(name))


def _ask(*command: str) -> str:
    """What a command answers; repeated while the controller is away. Raises InputError."""
    return patience.PATIENCE.repeat(lambda: _ask_once(*command))


def _ask_once(*command: str) -> str:
    """Raises QueueAway for what may pass, InputError for what will not."""
    done = _called(*command)
    if done.returncode:
        said = _words_of(done)
        if done.returncode < 0 or is_transient(said):
            raise QueueAway(f"{command[0]}: {said}.")
        raise InputError(f"{command[0]}: {said}. Correct the launch settings or the site.")
    return done.stdout


def _called(*command: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Raises InputError if there is no such command, QueueAway if it does not return."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=TIMEOUT_S, env=environment
        )
    except (FileNotFoundError, PermissionError):
        raise NoCommand(f"{command[0]}: not found here. Run this on a login node of a SLURM cluster.") from None
    except subprocess.TimeoutExpired:
        raise QueueAway(f"{command[0]}: no answer in {TIMEOUT_S:.0f} s. Is slurmctld up?") from None


def _words_of(done: subprocess.CompletedProcess[str]) -> str:
    """Why a command failed, on one line."""
    said = " ".join("".join(c if c.isprintable() else " " for c in done.stderr or done.stdout).split()).rstrip(".")
    return said or (f"ended by signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}")
