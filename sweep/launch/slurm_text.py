"""The text of a batch script: the file of its kind, slurm/<kind>.sbatch, under #SBATCH lines of its own. Pure.

What a person submits by hand and what the launcher submits is the same file; only the lines that ask for resources
differ:

    #!/usr/bin/env bash                         of the file
    # what it is for                            of the file
    #SBATCH --nodes=2                           ours: the file's own lines are those of a submission by hand
    ...
    set -euo pipefail                           of the file, to the last line
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sweep.contract import Launch
from sweep.launch.slurm_jobs import SlurmJob
from sweep.launch.slurm_options import literal, quoted, refuse_unprintable
from sweep.stage import Resources

MARK = "#SBATCH "


def script_of(body: str, options: Sequence[str]) -> str:
    """The script with these options in the place of its own.

    Raises ValueError if it has none, InputError for an option that would not stay one.
    """
    refuse_unprintable(options)
    lines = body.splitlines()
    own = [index for index, line in enumerate(lines) if line.startswith(MARK)]
    if not own:
        raise ValueError("no #SBATCH line in it. Take the script from the project's folder slurm/.")
    ours = [f"{MARK}{option}" for option in options]
    rest = [line for line in lines[own[0] :] if not line.startswith(MARK)]
    return "\n".join([*lines[: own[0]], *ours, *rest]) + "\n"


def options_of(job: SlurmJob, launch: Launch, name: str, code: Path, logs: Path) -> list[str]:
    """What a job asks for, as sbatch options; it starts in `code` and writes to a file of each element in `logs`."""
    element = "%a" if len(job.elements) > 1 else "0"
    options = [
        *_who(launch, name),
        *_resources(job.resources, launch),
        *_array(job, launch),
        f"--signal=B:USR1@{launch.signal_seconds}",
        "--requeue",
        "--open-mode=append",
        "--kill-on-invalid-dep=yes",
        f"--chdir={quoted(str(code))}",
        f"--output={quoted(literal(str(logs)) + '/' + log_name(job.name, element))}",
    ]
    return [*(each for each in options if each.partition("=")[0] not in launch.without), *launch.sbatch]


def log_name(job: str, element: str) -> str:
    """The log of one element of the job of that name."""
    return f"{job}_{element}.txt"


def dependency_of(job: SlurmJob, ids: Mapping[str, str]) -> str | None:
    """The value of --dependency, given the ids of the jobs before it; None: it waits for nothing."""
    after = [ids[name] for name in job.after if name in ids]
    after_each = [ids[name] for name in job.after_each if name in ids]
    kinds = [":".join([kind, *found]) for kind, found in (("afterok", after), ("aftercorr", after_each)) if found]
    return ",".join(kinds) or None


def units_text(job: SlurmJob, store: Path) -> str:
    """What each element makes, a line for each process: its number and the stage directories, parted by tabs."""
    return "".join(
        "\t".join([str(index), *(str(store / address) for address in step)]) + "\n"
        for index, element in enumerate(job.elements)
        for step in element.steps
    )


def walltime(minutes: int) -> str:
    """SLURM's days-hours:minutes:seconds."""
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}-{hours:02}:{minutes:02}:00"


def _who(launch: Launch, name: str) -> Iterator[str]:
    yield f"--job-name={name}"
    for option in ("partition", "account", "qos", "constraint"):
        if (value := getattr(launch, option)) is not None:
            yield f"--{option}={value}"


def asked_of(resources: Resources, launch: Launch) -> Resources:
    """What is asked for where a stage leaves it to the launch settings: so much for each GPU, or for none."""
    gpus = resources.devices
    memory_gib = launch.memory_gib
    if gpus:
        memory_gib = launch.memory_gib_per_gpu * gpus if launch.memory_gib_per_gpu else None
    return dataclasses.replace(
        resources,
        cpus=resources.cpus or (launch.cpus_per_gpu * gpus if gpus else launch.cpus),
        memory_gib=resources.memory_gib or memory_gib,
        minutes=resources.minutes or launch.minutes.get(resources.script),
    )


def _resources(resources: Resources, launch: Launch) -> Iterator[str]:
    asked = asked_of(resources, launch)
    yield f"--nodes={asked.nodes}"
    yield f"--ntasks-per-node={asked.processes}"
    yield f"--cpus-per-task={max(1, (asked.cpus or 1) // asked.processes)}"
    if asked.devices:
        kind = f"{launch.gpu_type}:" if launch.gpu_type else ""
        yield f"--gres=gpu:{kind}{asked.devices}"
    yield f"--mem={asked.memory_gib}G" if asked.memory_gib else "--mem=0"
    if asked.nodes > 1:
        yield "--exclusive"
    if asked.minutes is not None:
        yield f"--time={walltime(asked.minutes)}"


def _array(job: SlurmJob, launch: Launch) -> Iterator[str]:
    if len(job.elements) > 1:
        throttle = f"%{launch.throttle}" if launch.throttle else ""
        yield f"--array=0-{len(job.elements) - 1}{throttle}"
