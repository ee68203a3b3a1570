"""The text of batch scripts: slurm/<script>.sbatch with the #SBATCH lines that the job needs. Does no I/O.

The script that a person submits and the one that the launcher submits are the same file. The launcher replaces only
the #SBATCH lines:

    #!/usr/bin/env bash                         from the file
    # what it is for                            from the file
    #SBATCH --nodes=2                           from the launcher, in place of the file's own #SBATCH lines
    ...
    set -euo pipefail                           from the file, to the last line

No value of a sweep may add another line or option: sbatch reads `#SBATCH --partition=main --uid=0` as two options and
ends a line at `#`, so unquoted values contain neither blanks nor `#`. Paths are quoted, and their percent signs doubled
where sbatch would expand them.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sweep.core.launch import GpuOption, JobSettings, Launch
from sweep.core.stage import Resources
from sweep.errors import InputError
from sweep.slurm.container import container_faults
from sweep.slurm.jobs import SlurmJob
from sweep.suggestions import unknown

PLAIN_FIELDS = ("partition", "account", "qos", "constraint")
ALL_MEMORY = 0  # SLURM's --mem=0: all memory of a node
RESERVED_OPTIONS = {  # options that only the launcher may set, and why
    "--job-name": "jobs are looked up by name",
    "--array": "the plan determines the elements",
    "--dependency": "jobs wait for the jobs that make their inputs",
    "--chdir": "jobs run the code of the submission",
    "--output": "logs are looked up by name",
    "--clusters": "squeue here would not see jobs of another cluster; log in there",
    "--wrap": "the stage determines the script",
    "--wait": "a submission returns at once",
    "--test-only": "nothing would be submitted; launch.dry_run=true writes the scripts",
    "--parsable": "the launcher reads the job id",
}
LEAVABLE_OPTIONS = (  # options of our scripts that `without` may leave out
    *(f"--{field}" for field in PLAIN_FIELDS),
    "--nodes",
    "--ntasks-per-node",
    "--cpus-per-task",
    "--gres",
    "--gpus-per-node",
    "--mem",
    "--exclusive",
    "--time",
    "--signal",
    "--requeue",
    "--open-mode",
    "--kill-on-invalid-dep",
)
DIRECTIVE = "#SBATCH "
SHORT_OPTIONS = {
    "-J": "--job-name",
    "-a": "--array",
    "-d": "--dependency",
    "-D": "--chdir",
    "-o": "--output",
    "-M": "--clusters",
    "-W": "--wait",
}


def refuse_unsafe(launch: Launch, name: str, store: str) -> None:
    """Raises InputError with a line for each value that is unsafe in a batch script."""
    contained = container_faults(launch.image, store) if launch.image else ()
    if faults := [*_launch_faults(launch), *contained, *_name_faults(name, store)]:
        raise InputError("\n".join(faults))


def refuse_other_clusters(environment: Mapping[str, str]) -> None:
    """Raises InputError if variables choose another cluster, or several, which the launcher cannot follow."""
    named = environment.get("SBATCH_CLUSTERS")
    if named:
        raise InputError(
            f"SBATCH_CLUSTERS {named}: jobs are submitted to the cluster of this login node alone. Log in to a node of"
            " the other cluster, or unset the variable."
        )
    named = environment.get("SLURM_CLUSTERS", "")
    if named == "all" or "," in named:
        raise InputError(f"SLURM_CLUSTERS {named}: several clusters. Name the one that runs this sweep, or unset it.")


def refuse_unprintable(options: Sequence[str]) -> None:
    """Final check of all options of a script, whatever their source. Raises InputError."""
    for option in options:
        if not option.isprintable() or not option.startswith("--"):
            raise InputError(f"batch script: {option!r} is not one option. Correct the launch field that contains it.")


def quoted(path: str) -> str:
    """A path, quoted as the value of an option."""
    return f'"{path}"'


def literal(path: str) -> str:
    """A path for --output, escaped so that sbatch expands nothing in it."""
    return path.replace("%", "%%")


def _launch_faults(launch: Launch) -> Iterator[str]:
    for kind, settings in (("defaults", launch.defaults), *launch.kinds.items()):
        yield from _settings_faults(f"launch.{kind}", settings)
    if launch.site is not None and not launch.site.isprintable():
        yield f"launch.site {launch.site!r}: has a control character. Rename the file."


def _settings_faults(place: str, settings: JobSettings) -> Iterator[str]:
    for field in PLAIN_FIELDS:
        value = getattr(settings, field)
        if value is not None and not _is_plain(value):
            yield (
                f"{place}.{field} {value!r}: empty, or has a blank, quote, backslash, # or control character, which"
                " would end the value in a batch script. Write the name alone."
            )
    if settings.gpu_type is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", settings.gpu_type):
        yield f"{place}.gpu_type {settings.gpu_type!r}: not a GPU type. Use letters, digits, dots, dashes."
    for option in settings.sbatch or ():
        if fault := _option_fault(option):
            yield f"{place}.sbatch {option!r}: {fault}"
    for option in settings.without or ():
        if not re.fullmatch(r"--[a-z][a-z-]*", option):
            yield f"{place}.without {option!r}: not an option name. Write it as --mem, without a value."
        elif option in ("--job-name", "--output", "--chdir", "--array"):
            yield f"{place}.without {option!r}: {RESERVED_OPTIONS[option]}. Take it out of the list."
        elif option not in LEAVABLE_OPTIONS:
            yield unknown(f"{place}.without {option!r}", "option in our scripts", option, LEAVABLE_OPTIONS)


def _option_fault(option: str) -> str | None:
    if not option.isprintable():
        return "has a control character. Write one option on one line."
    if short := SHORT_OPTIONS.get(option[:2]):
        return f"only the launcher may set {short}: {RESERVED_OPTIONS[short]}. Leave it out."
    if not re.match(r"--[a-z]", option) or option != option.strip():
        return "does not begin with -- and a letter, or has blanks around it. Write it as --reservation=friday."
    name = option.partition("=")[0].split()[0]
    if reserved := next(
        (each for each in RESERVED_OPTIONS if each == name or (len(name) > 3 and each.startswith(name))), None
    ):
        return f"only the launcher may set {reserved}: {RESERVED_OPTIONS[reserved]}. Leave it out."
    try:
        words = shlex.split(option)
        is_cut = shlex.split(option, comments=True) != words
    except ValueError:
        return "has an unclosed quote. Close it."
    if len(words) != 1 or is_cut:
        return "more than one option, or a # outside quotes. Write each as --name=value, in quotes if it has blanks."
    return None


def _name_faults(name: str, store: str) -> Iterator[str]:
    if not name or not name.isprintable() or re.search(r"[/\"\\]", name):
        yield f"name {name!r}: not a plain folder name. Use letters, digits, dots, dashes."
    if not store.isprintable() or '"' in store or "\\" in store:
        yield (
            f"store {store!r}: a double quote, a backslash or a control character cannot be written into a batch"
            " script. Choose another directory: store=DIR."
        )


def _is_plain(value: str) -> bool:
    return bool(value) and value.isprintable() and not re.search(r"[\s\"'\\#]", value)


def script_of(body: str, options: Sequence[str], comments: Sequence[str] = ()) -> str:
    """The script with its #SBATCH options replaced by these, and comments after them.

    Raises ValueError if it has none, InputError for an option that would become more than one.
    """
    refuse_unprintable(options)
    lines = body.splitlines()
    own = [index for index, line in enumerate(lines) if line.startswith(DIRECTIVE)]
    if not own:
        raise ValueError("the script has no #SBATCH line. Take it from the project's folder slurm/.")
    ours = [f"{DIRECTIVE}{option}" for option in options]
    rest = [line for line in lines[own[0] :] if not line.startswith(DIRECTIVE)]
    return "\n".join([*lines[: own[0]], *ours, *comments, *rest]) + "\n"


def options_of(job: SlurmJob, launch: Launch, name: str, code: Path, logs: Path) -> list[str]:
    """The sbatch options of a job, which starts in `code` and writes one log per element to `logs`."""
    element = "%a" if len(job.elements) > 1 else "0"
    settings = launch.settings_of(job.resources.script)
    options = [
        *_job_options(settings, name),
        *_resource_options(requested_resources(job.resources, launch), settings),
        *_array_option(job, launch),
        f"--signal=B:USR1@{launch.signal_seconds}",
        "--requeue",
        "--open-mode=append",
        "--kill-on-invalid-dep=yes",
        f"--chdir={quoted(str(code))}",
        f"--output={quoted(literal(str(logs)) + '/' + log_name(job.name, element))}",
    ]
    further = settings.sbatch or ()
    without = {*(settings.without or ()), *(["--requeue"] if any(map(_forbids_requeueing, further)) else [])}
    return [*(each for each in options if each.partition("=")[0] not in without), *further]


def _forbids_requeueing(option: str) -> bool:
    return option.startswith("--no-r") and "--no-requeue".startswith(option)  # sbatch completes options


def log_name(job: str, element: str) -> str:
    """File name of the log of one element of a job."""
    return f"{job}_{element}.txt"


def dependency_of(job: SlurmJob, ids: Mapping[str, str]) -> str | None:
    """The value of --dependency, given the ids of earlier jobs; None if the job waits for nothing."""
    after = [ids[name] for name in job.after if name in ids]
    after_each = [ids[name] for name in job.after_each if name in ids]
    kinds = [":".join([kind, *found]) for kind, found in (("afterok", after), ("aftercorr", after_each)) if found]
    return ",".join(kinds) or None


def units_text(job: SlurmJob, store: Path) -> str:
    """One line for each process: the number of its element and its stage directories, separated by tabs.

    A line without directories separates the units of a packed element: what follows does not need what precedes.
    """
    return "".join(
        f"{index}\t" + "\t".join(str(store / address) for address in step) + "\n"
        for index, element in enumerate(job.elements)
        for step in element.steps
    )


def walltime(minutes: int) -> str:
    """SLURM's days-hours:minutes:seconds."""
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}-{hours:02}:{minutes:02}:00"


def _job_options(settings: JobSettings, name: str) -> Iterator[str]:
    yield f"--job-name={name}"
    for option in PLAIN_FIELDS:
        if (value := getattr(settings, option)) is not None:
            yield f"--{option}={value}"


def requested_resources(resources: Resources, launch: Launch) -> Resources:
    """The resources of a job; what the stage leaves open comes from the settings of its kind of job.

    What is None there too is left to the cluster. memory_gib 0: all memory of the node.
    """
    settings, gpus = launch.settings_of(resources.script), resources.devices
    cpus, memory_gib = settings.cpus, settings.memory_gib
    if gpus:
        cpus, memory_gib = (_times(each, gpus) for each in (settings.cpus_per_gpu, settings.memory_gib_per_gpu))
    return dataclasses.replace(
        resources,
        cpus=resources.cpus or cpus,
        memory_gib=resources.memory_gib or memory_gib,
        minutes=resources.minutes or settings.minutes,
    )


def _times(amount: int | None, gpus: int) -> int | None:
    return None if amount is None else amount * gpus


def _resource_options(asked: Resources, settings: JobSettings) -> Iterator[str]:
    yield f"--nodes={asked.nodes}"
    yield f"--ntasks-per-node={asked.processes}"
    if asked.cpus:
        yield f"--cpus-per-task={max(1, asked.cpus // asked.processes)}"
    if asked.devices:
        yield from _gpu_option(asked.devices, settings)
    if asked.memory_gib is not None:
        yield "--mem=0" if asked.memory_gib == ALL_MEMORY else f"--mem={asked.memory_gib}G"
    if asked.nodes > 1:
        yield "--exclusive"
    if asked.minutes is not None:
        yield f"--time={walltime(asked.minutes)}"


def _gpu_option(gpus: int, settings: JobSettings) -> Iterator[str]:
    kind = f"{settings.gpu_type}:" if settings.gpu_type else ""
    if settings.gpu_option in (None, GpuOption.GRES):
        yield f"--gres=gpu:{kind}{gpus}"
    elif settings.gpu_option is GpuOption.GPUS_PER_NODE:
        yield f"--gpus-per-node={kind}{gpus}"


def _array_option(job: SlurmJob, launch: Launch) -> Iterator[str]:
    if len(job.elements) > 1:
        throttle = f"%{launch.throttle}" if launch.throttle else ""
        yield f"--array=0-{len(job.elements) - 1}{throttle}"
