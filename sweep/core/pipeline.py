"""What a pipeline module gives the machinery: a schema of its points, a graph with what to show and publish, and
what the stages of a batch keep together.

The machinery imports the module by the dotted path in the config (`pipeline: s1.pipeline`) and knows no more of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Protocol

from annotated_types import Ge, Le

from sweep.core.identity import Json
from sweep.core.ranges import Count, NotNegative, Positive, Text
from sweep.core.stage import Stage, Summary
from sweep.errors import InputError


@dataclass(frozen=True)
class CostEstimate:
    """What a stage is expected to cost; all zero for what takes no time worth naming."""

    tokens: int = 0
    device_seconds: float = 0.0
    usd: float = 0.0


@dataclass(frozen=True)
class SweepRequest:
    """What a command asks for, beside the points themselves."""

    command: str  # what makes these points, wherever they are kept
    chosen: Mapping[str, str]  # what the command line fixes: options of groups, values of fields
    values: Sequence[Mapping[str, Json]]  # what each point sets, by field, over all axes
    store: Path
    store_id: Callable[[], str] = field(default=str, compare=False)  # named on first use: a plan writes nothing
    pins: Path = Path("pins.lock")  # which commits names from outside stand for; where one works


@dataclass(frozen=True)
class Workers:
    """How many processes run at the same time here, the CPU threads of each, and how they are looked after."""

    count: int
    threads: int
    take_over: bool = False  # from a holder of a stage that cannot be asked: yes=true was given
    stall_minutes: float | None = None  # without progress, after which a worker is ended; None: never


class LaunchKind(Enum):
    LOCAL = "local"  # processes on this machine
    SLURM = "slurm"  # jobs of a SLURM cluster


@dataclass(frozen=True)
class Launch:
    """Who runs the stages, and what a SLURM site wants to be told; by a pipeline also from its own configuration."""

    kind: LaunchKind = LaunchKind.LOCAL  # where stages run
    dry_run: bool = False  # write every batch script and submit nothing
    partition: Text | None = None  # SLURM partition; null: the cluster's default
    account: Text | None = None  # SLURM account; null: your default
    qos: Text | None = None  # SLURM quality of service; null: your default
    constraint: Text | None = None  # features that a node must have; null: any node
    gpu_type: Text | None = None  # GPU type of --gres, such as h100; null: any
    sbatch: tuple[Text, ...] = ()  # more options, as they stand on #SBATCH lines, such as --reservation=friday
    without: tuple[Text, ...] = ()  # options of ours that the site does not allow, such as --mem or --exclusive
    # walltime limit of each batch script, in minutes
    minutes: Mapping[Text, Count] = field(default_factory=dict[str, int])
    cpus: Count = 4  # CPUs of a stage without GPUs
    memory_gib: Count | None = 16  # memory of a stage without GPUs; null: all that a node has
    cpus_per_gpu: Count = 8  # CPUs for each GPU
    memory_gib_per_gpu: Count | None = None  # memory for each GPU; null: all that a node has
    throttle: Count | None = None  # elements of a job array that run at the same time; null: all
    max_array_size: Count | None = None  # largest job array; null: ask the cluster
    # seconds before the walltime limit at which a job is warned: time to write a checkpoint
    signal_seconds: Annotated[int, Ge(0), Le(65535)] = 300
    # ask before submitting a plan that is estimated above this price, unless yes=true
    ask_above_usd: NotNegative = 100.0
    # a worker without any progress for so long is ended; loading is exempt; null: never
    stall_minutes: Positive | None = 60.0
    site: Text | None = None  # a file of shell lines for the beginning of every job; null: slurm/site.sh if it exists

    def __post_init__(self) -> None:
        if self.stall_minutes is not None and not 0 < self.stall_minutes < float("inf"):
            raise ValueError(
                f"launch.stall_minutes {self.stall_minutes}: not a time. Use minutes above 0, or null for never."
            )


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
LONGEST_NAME = 200  # bytes: file systems allow 255, and folders of submissions add the moment
RESERVED = ("published", "paper", "benchmarks", "latest")  # folders and links in results/ that are no experiment's


def check_name(name: str) -> None:
    """Raises InputError for what can be no folder of results, on any file system."""
    if not NAME.fullmatch(name):
        raise InputError(f"name {name!r}: not a plain folder name. Use letters, digits, dots, dashes.")
    if len(name) > LONGEST_NAME:
        raise InputError(f"name {name[:40]}...: {len(name)} characters. Use at most {LONGEST_NAME}.")
    if name.casefold() in RESERVED:
        raise InputError(f"name {name!r}: reserved, as {', '.join(RESERVED)} are. Choose another name.")


@dataclass(frozen=True)
class Graph:
    name: str  # results/<name>/<key of the product>
    product: Stage  # its files are the result
    table: Callable[[Path], Sequence[Mapping[str, str]]]  # the product's directory as rows to show, a heading each cell
    workers: Workers
    estimates: Mapping[str, CostEstimate]  # by stage address
    on_finished: Callable[[Stage, Path], None]  # a stage and its directory: mirror it, once; no error of it ends a run
    points: int
    remarks: Callable[[Mapping[str, Summary]], Sequence[str]]  # lines on what the stages, by address, say of themselves
    notes: Sequence[str] = ()  # what to know before it runs, a line each
    missing: Mapping[str, Sequence[str]] = field(  # by stage address: why it cannot be made here
        default_factory=dict[str, Sequence[str]]
    )
    launch: Launch = Launch()
    limit_usd: float | None = 1.0  # damaged products are made again unasked up to this price; None: whatever it is
    prefetch: Callable[[Sequence[Stage]], Iterable[str]] = lambda stages: ()  # bring here what these stages download
    unpinned: Callable[[Sequence[Stage]], Sequence[str]] = lambda stages: ()  # what of it may still change, a line each
    # Write down which commits these names stand for today; True: also of names that have one. A line each.
    pin: Callable[[Sequence[Stage], bool], Iterable[str]] = lambda stages, refresh: ()

    def __post_init__(self) -> None:
        check_name(self.name)

    def supervised(self, take_over: bool) -> Graph:
        """The same, whose workers here are watched as `launch` says."""
        workers = replace(self.workers, take_over=take_over, stall_minutes=self.launch.stall_minutes)
        return replace(self, workers=workers)

    def missing_for(self, needed: Iterable[Stage]) -> list[str]:
        """Why stages that are to be made cannot be made on this machine, a line each, with the fix."""
        return list(dict.fromkeys(line for stage in needed for line in self.missing.get(stage.address, ())))


@dataclass(frozen=True)
class SharedReport:
    """What the stages of a batch keep together, as the pipeline that wrote it reads it."""

    lines: tuple[str, ...]  # for people, a store each: "continuations: 300 streams, 51,234 tokens"
    faults: tuple[str, ...]  # `<file>: <what is wrong>`, paths relative to the folder


class Pipeline(Protocol):
    """A module."""

    Point: type[Any]  # a frozen dataclass

    def graph(self, points: Sequence[Any], request: SweepRequest) -> Graph:
        """Plan all points together."""
        ...

    def shared(self, directory: Path) -> SharedReport:
        """Read the folder of a batch, and the redo-<n>/ in it, which are like it; changes nothing."""
        ...

    def repair_shared(self, directory: Path) -> None:
        """Rid the folder of a batch of its faults; nobody else is at work there."""
