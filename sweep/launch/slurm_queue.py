"""The doorway to SLURM's commands: sbatch, squeue, sacct, scontrol, scancel. One call for all jobs, not one each."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from sweep.errors import InputError
from sweep.launch.slurm_state import Seen, elements_of

TIMEOUT_S = 120.0  # a busy controller answers late
OF_CLUSTER = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT")  # the rest is of a job
SPELLED = {  # what the environment calls options by other names
    "array": ("ARRAY_INX",),
    "mem": ("MEM_PER_NODE", "MEM_PER_CPU", "MEM_PER_GPU"),
    "requeue": ("REQUEUE", "NO_REQUEUE"),
    "time": ("TIMELIMIT",),
}


def refuse_without_slurm() -> None:
    """Raises InputError where nothing can be submitted, before anything is fetched or written for it."""
    _ask("sbatch", "--version")


def submit(script: Path, arguments: Sequence[str], dependency: str | None) -> str:
    """Send one script; its job id. Raises InputError with SLURM's own words."""
    wait = [f"--dependency={dependency}"] if dependency else []
    environment = _but_for_what_it_says(script, of_login(os.environ))
    said = _ask("sbatch", "--parsable", *wait, str(script), *arguments, environment=environment)
    last = said.strip().rpartition("\n")[2]  # after whatever the site greets with
    job_id = last.strip().partition(";")[0]
    if not job_id.isdecimal():
        raise InputError(f"sbatch: {last!r} is not a job id. Look with squeue whether {script} is in the queue.")
    return job_id


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
    return {name: value for name, value in environment.items() if name not in said}


def cancel(ids: Sequence[str]) -> None:
    """Cancel jobs, arrays with all their elements; those that have ended are passed over."""
    if ids:
        _ask("scancel", "--quiet", *ids)


def max_array_size() -> int | None:
    """How many elements an array may have here; None: no SLURM here that could tell."""
    try:
        lines = _ask("scontrol", "show", "config").splitlines()
    except InputError:
        return None
    sizes = [line.partition("=")[2].strip() for line in lines if line.startswith("MaxArraySize")]
    return int(sizes[0]) if sizes else None


def in_queue(ids: Sequence[str]) -> dict[str, Seen] | None:
    """What is waiting or running of these jobs, by "17" or "17_3"; None: no squeue answers here."""
    if not ids:
        return {}
    try:
        text = _ask("squeue", "--noheader", "--array", f"--jobs={','.join(ids)}", "--format=%i|%T|%M|%r|%N")
    except InputError as error:
        return {} if "Invalid job id" in str(error) else None  # it knows none of them any more
    rows = (line.split("|") for line in text.splitlines() if "|" in line)  # of several clusters, each has a heading
    return {name: Seen(state, reason, elapsed, nodes) for name, state, elapsed, reason, nodes in rows}


def ended(ids: Sequence[str]) -> tuple[dict[str, Seen], str]:
    """How jobs ended, as accounting tells it, or else as far as the controller remembers; and who told it."""
    if not ids:
        return {}, ""
    fields = "--format=JobID,State,Elapsed,ExitCode,NodeList"
    try:
        rows = _ask("sacct", "-X", "--noheader", "--parsable2", f"--jobs={','.join(ids)}", fields).splitlines()
        return dict(_of_sacct(rows)), "sacct"
    except InputError:  # no accounting on this cluster
        return {name: seen for each in ids for name, seen in _remembered(each)}, "scontrol"


def _of_sacct(rows: Iterable[str]) -> Iterator[tuple[str, Seen]]:
    for row in rows:
        name, state, elapsed, status, nodes = row.split("|")
        yield from ((each, Seen(state.split()[0], f"exit {status}", elapsed, nodes)) for each in elements_of(name))


def _remembered(job_id: str) -> Iterator[tuple[str, Seen]]:
    try:
        lines = _ask("scontrol", "show", "job", "--oneliner", job_id).splitlines()
    except InputError:  # forgotten
        return
    for line in lines:
        facts = dict(word.partition("=")[::2] for word in line.split() if "=" in word)
        if not facts:
            continue
        name = f"{job_id}_[{facts['ArrayTaskId']}]" if "ArrayTaskId" in facts else job_id
        reason = facts.get("Reason", "None")
        why = reason if reason != "None" else f"exit {facts.get('ExitCode', '?')}"
        seen = Seen(facts["JobState"], why, facts.get("RunTime", ""), facts.get("NodeList", ""))
        yield from ((each, seen) for each in elements_of(name))


def _ask(*command: str, environment: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S, env=environment)
    except FileNotFoundError:
        raise InputError(f"{command[0]}: not found here. Run this on a login node of a SLURM cluster.") from None
    except subprocess.TimeoutExpired:
        raise InputError(f"{command[0]}: no answer in {TIMEOUT_S:.0f} s. Is slurmctld up? Try again later.") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise InputError(f"{command[0]}: {said or f'status {done.returncode}'}. Mend the launch settings or the site.")
    return done.stdout
