"""What may stand in a batch script: no value of a sweep becomes another line or another option of it. Pure.

sbatch takes a line `#SBATCH --partition=main --uid=0` for two options and ends a line at a `#`: a value without quotes
has none of these. A path stands in quotes, and its percent signs doubled where sbatch would replace them.

The text of a batch script: the file of its kind, slurm/<kind>.sbatch, under #SBATCH lines of its own. Pure.

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
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sweep.core.pipeline import Launch
from sweep.core.stage import Resources
from sweep.errors import InputError
from sweep.slurm.jobs import SlurmJob

VALUES = ("partition", "account", "qos", "constraint")
OURS = {  # options that the launcher has to set itself, and why
    "--job-name": "a job is found again by its name",
    "--array": "the elements are those of the plan",
    "--dependency": "jobs wait for what makes their inputs",
    "--chdir": "a job runs the code of the submission",
    "--output": "logs are found by their names",
    "--clusters": "squeue would not see jobs of another cluster here; log in there",
    "--wrap": "the script is that of the stage",
    "--wait": "a submission returns at once",
    "--test-only": "nothing would be sent; launch.dry_run=true writes the scripts",
    "--parsable": "the launcher reads the job id",
}
SHORT = {
    "-J": "--job-name",
    "-a": "--array",
    "-d": "--dependency",
    "-D": "--chdir",
    "-o": "--output",
    "-M": "--clusters",
    "-W": "--wait",
}


def refuse_unsafe(launch: Launch, name: str, store: str) -> None:
    """Raises InputError, a line for each value that cannot be written into a batch script as it is."""
    if faults := [*_faults(launch), *_faults_of_names(name, store)]:
        raise InputError("\n".join(faults))


def refuse_unprintable(options: Sequence[str]) -> None:
    """The last look at all options of a script, whatever they came from. Raises InputError."""
    for option in options:
        if not option.isprintable() or not option.startswith("--"):
            raise InputError(f"batch script: {option!r} is not one option on one line. Correct what it came from.")


def quoted(path: str) -> str:
    """A path as the value of an option."""
    return f'"{path}"'


def literal(path: str) -> str:
    """A path in which sbatch replaces nothing, for --output."""
    return path.replace("%", "%%")


def _faults(launch: Launch) -> Iterator[str]:
    for field in VALUES:
        value = getattr(launch, field)
        if value is not None and not _is_plain(value):
            yield (
                f"launch.{field} {value!r}: empty, or with a blank, a quote, a backslash, a # or a control character,"
                " which would end the value in a batch script. Write the name alone."
            )
    if launch.gpu_type is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", launch.gpu_type):
        yield f"launch.gpu_type {launch.gpu_type!r}: not the name of a type. Use letters, digits, dots, dashes."
    for option in launch.sbatch:
        if fault := _fault_of_option(option):
            yield f"launch.sbatch {option!r}: {fault}"
    for option in launch.without:
        if not re.fullmatch(r"--[a-z][a-z-]*", option):
            yield f"launch.without {option!r}: not the name of an option. Write it as --mem, without a value."
        elif option in ("--job-name", "--output", "--chdir", "--array"):
            yield f"launch.without {option!r}: {OURS[option]}. Take it out of the list."
    if launch.site is not None and not launch.site.isprintable():
        yield f"launch.site {launch.site!r}: has a control character. Rename the file."


def _fault_of_option(option: str) -> str | None:
    if not option.isprintable():
        return "has a control character. Write one option on one line."
    if short := SHORT.get(option[:2]):
        return f"{short} is the launcher's to set, as {OURS[short]}. Leave it out."
    if not re.match(r"--[a-z]", option) or option != option.strip():
        return "does not begin with -- and a letter, or has blanks around it. Write it as --reservation=friday."
    name = option.partition("=")[0].split()[0]
    if ours := next((each for each in OURS if each == name or (len(name) > 3 and each.startswith(name))), None):
        return f"{ours} is the launcher's to set, as {OURS[ours]}. Leave it out."
    try:
        words = shlex.split(option)
        is_cut = shlex.split(option, comments=True) != words
    except ValueError:
        return "a quote in it is not closed. Close it."
    if len(words) != 1 or is_cut:
        return "more than one option, or a # outside of quotes. Write each as --name=value, in quotes if it has blanks."
    return None


def _faults_of_names(name: str, store: str) -> Iterator[str]:
    if not name or not name.isprintable() or re.search(r"[/\"\\]", name):
        yield f"name {name!r}: not a plain folder name. Use letters, digits, dots, dashes."
    if not store.isprintable() or '"' in store or "\\" in store:
        yield (
            f"store {store!r}: a double quote, a backslash or a control character cannot be written into a batch"
            " script. Choose another directory: store=DIR."
        )


def _is_plain(value: str) -> bool:
    return bool(value) and value.isprintable() and not re.search(r"[\s\"'\\#]", value)


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
