"""Where stages run: on this machine or as jobs of a SLURM cluster, and what each kind of job requests there."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Annotated, Any

from annotated_types import Ge, Le

from sweep.core.ranges import Count, Natural, NotNegative, Positive, Text
from sweep.plain_values import is_mapping


class LaunchKind(Enum):
    LOCAL = "local"  # processes on this machine
    SLURM = "slurm"  # jobs of a SLURM cluster


class GpuOption(Enum):
    GRES = "gres"  # --gres=gpu:h100:8
    GPUS_PER_NODE = "gpus_per_node"  # --gpus-per-node=h100:8
    NONE = "none"  # no option: the partition gives whole nodes, or `sbatch` has one


class Containers(Enum):
    APPTAINER = "apptainer"  # apptainer exec, in the batch script
    PYXIS = "pyxis"  # srun --container-image, a plugin of SLURM


@dataclass(frozen=True)
class JobSettings:
    """What jobs request. null: as in `launch.defaults`; null there too: the cluster's default."""

    partition: Text | None = None  # SLURM partition
    account: Text | None = None  # SLURM account
    qos: Text | None = None  # SLURM quality of service
    constraint: Text | None = None  # features that a node must have
    gpu_option: GpuOption | None = None  # how GPUs are requested; null: gres
    gpu_type: Text | None = None  # type of GPU, such as h100
    minutes: Count | None = None  # walltime limit; null: the estimate times launch.walltime_margin
    minutes_limit: Count | None = None  # longest walltime limit to request; null: that of the partition
    cpus: Count | None = None  # CPUs of a job without GPUs
    memory_gib: Natural | None = None  # memory of a job without GPUs; 0: all that a node has
    cpus_per_gpu: Count | None = None  # CPUs for each GPU
    memory_gib_per_gpu: Natural | None = None  # memory for each GPU; 0: all that a node has
    sbatch: tuple[Text, ...] | None = None  # further sbatch options, written as on #SBATCH lines
    without: tuple[Text, ...] | None = None  # our sbatch options that the cluster refuses: --mem, --exclusive

    def over(self, defaults: JobSettings) -> JobSettings:
        """These settings, with those of `defaults` where they are null."""
        given = {each.name: value for each in fields(self) if (value := getattr(self, each.name)) is not None}
        return replace(defaults, **given)


@dataclass(frozen=True)
class Container:
    """The container in which jobs run Python; batch scripts and SLURM's commands run outside it."""

    kind: Containers | None = None  # what starts it; null: no container
    image: Text | None = None  # the image: a .sif file, or for pyxis a .sqsh file or registry address
    binds: tuple[Text, ...] = ()  # folders to mount, FROM or FROM:TO; the store and HF_HOME always are
    python: Text = "python"  # Python in the image, with the packages of this project

    def __post_init__(self) -> None:
        if self.kind is None and (self.image is not None or self.binds or self.python != "python"):
            raise ValueError("launch.container.kind: missing. Add launch.container.kind=apptainer, or pyxis.")
        if self.kind is not None and self.image is None:
            raise ValueError("launch.container.image: missing. Add launch.container.image=FILE.")


@dataclass(frozen=True)
class Launch:
    """Launcher choice and settings of SLURM jobs. A pipeline may derive some of them from its own configuration."""

    kind: LaunchKind = LaunchKind.LOCAL  # where stages run
    dry_run: bool = False  # write every batch script and submit nothing
    site_check: bool = False  # ask the cluster which settings it would refuse, and submit nothing
    defaults: JobSettings = JobSettings()  # settings of all jobs
    cpu: JobSettings = JobSettings()  # settings of jobs of slurm/cpu.sbatch: data, scores, report
    generate: JobSettings = JobSettings()  # settings of jobs of slurm/generate.sbatch
    sft: JobSettings = JobSettings()  # settings of jobs of slurm/sft.sbatch: training
    # walltime limit, where `minutes` is null, as a multiple of the estimated time
    walltime_margin: Annotated[float, Ge(1)] = 2.0
    container: Container | None = None  # run Python in this container; null: none
    throttle: Count | None = None  # elements of a job array that run at the same time; null: all
    max_array_size: Count | None = None  # largest job array; null: ask the cluster
    # most jobs in the queue at a time, array elements count; a larger plan is sent in waves; null: ask the cluster
    max_submit_jobs: Annotated[int, Ge(2)] | None = None
    # restarts in a row without a finished stage, a new checkpoint or new tokens, after which a job ends
    restarts_without_progress: Count = 3
    # submit a job that continues an interrupted one that SLURM does not requeue; false: it ends, for `sweep resume`
    follow_up: bool = True
    # seconds before the walltime limit at which a job is warned: time to write a checkpoint
    signal_seconds: Annotated[int, Ge(0), Le(65535)] = 300
    # ask before a run or a submission that is estimated above this price, unless --yes is given
    ask_above_usd: NotNegative = 100.0
    # check the nodes first, in jobs that all others wait for, if the plan is estimated above this price; null: never
    preflight_above_usd: NotNegative | None = None
    # end a worker that makes no progress for this long; loading does not count; null: never
    stall_minutes: Positive | None = 60.0
    site: Text | None = None  # a file of shell lines for the beginning of every job; null: slurm/site.sh if it exists

    def __post_init__(self) -> None:
        if self.stall_minutes is not None and not 0 < self.stall_minutes < float("inf"):
            raise ValueError(
                f"launch.stall_minutes {self.stall_minutes}: not a time. Use minutes above 0, or null for never."
            )

    @property
    def image(self) -> Container | None:
        """The container in which jobs run Python; None: they run it in the environment that planned them."""
        return self.container if self.container is not None and self.container.kind is not None else None

    @property
    def kinds(self) -> Mapping[str, JobSettings]:
        """Settings of their own of the kinds of jobs, by batch script."""
        return {script: getattr(self, script) for script in SCRIPTS}

    def settings_of(self, script: str) -> JobSettings:
        """Settings of the jobs of slurm/<script>.sbatch; for another script, the defaults."""
        return self.kinds.get(script, JobSettings()).over(self.defaults)


SCRIPTS = ("cpu", "generate", "sft")
JOB_FIELDS = tuple(each.name for each in fields(JobSettings))
HERE = ("kind", "stall_minutes", "ask_above_usd")  # fields of both launchers
SLURM_FIELDS = (*(each.name for each in fields(Launch) if each.name not in HERE), *JOB_FIELDS)


def settings_without_slurm(launch: Mapping[Any, Any], option: str) -> str | None:
    """Error line for settings of SLURM jobs where everything runs on this machine; None if there are none.

    `option` is the chosen file of conf/launch.
    """
    if launch.get("kind", LaunchKind.LOCAL.value) != LaunchKind.LOCAL.value:
        return None
    field = next((name for name in map(str, launch) if name.partition(".")[0] in SLURM_FIELDS), None)
    if field is None:
        return None
    fix = (
        "Add launch=slurm, or leave it out"
        if option == "local"
        else f"Begin conf/launch/{option}.yaml with `# @package _global_`, `defaults:` and `  - slurm`"
    )
    return f"launch.{field}: a setting of SLURM jobs, but launch={option} runs on this machine. {fix}."


# --------------------------------------------------------------------------------------- one value for all jobs


def full_path(path: str) -> str:
    """The field that a short path means.

    launch.partition    -> launch.defaults.partition
    launch.minutes.sft  -> launch.sft.minutes
    """
    if found := re.fullmatch(r"launch\.minutes\.(\w+)", path):
        return f"launch.{found[1]}.minutes"
    group, _, name = path.partition(".")
    return f"launch.defaults.{name}" if group == "launch" and name in JOB_FIELDS else path


def short_names(path: str, known: Collection[str]) -> tuple[str, ...]:
    """Names that may be written after `path` beside its fields, because `full_path` completes them."""
    return JOB_FIELDS if path == "launch" and "defaults" in known else ()


def with_kinds(launch: Mapping[str, Any]) -> dict[str, Any]:
    """A launch section, as recorded by versions without settings per kind of job, in today's form.

    There null memory meant all of a node.
    """
    old = {name: value for name, value in launch.items() if name in JOB_FIELDS}
    if not old:
        return dict(launch)
    kinds: dict[str, dict[str, Any]] = {"defaults": dict(_recorded_defaults(old))}
    minutes = old.get("minutes")
    for script, limit in minutes.items() if is_mapping(minutes) else ():
        kinds[str(script)] = {"minutes": limit}
    return {**{name: value for name, value in launch.items() if name not in old}, **kinds}


def _recorded_defaults(old: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in old.items():
        if name in ("memory_gib", "memory_gib_per_gpu"):
            yield name, value or 0
        elif name != "minutes":
            yield name, value
