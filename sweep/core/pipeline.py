"""Interface between the machinery and a pipeline module: the schema of a point, the stage graph, and shared batch data.

The machinery imports the module by the dotted path in the config (`pipeline: s1.pipeline`) and depends on nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from sweep.core.identity import Json
from sweep.core.launch import Launch
from sweep.core.recorded import RecordedStage
from sweep.core.shown import Shown, ShowRequest
from sweep.core.spending import Limits
from sweep.core.stage import Stage, Summary
from sweep.errors import InputError
from sweep.plain_values import is_mapping


@dataclass(frozen=True)
class CostEstimate:
    """Expected cost of a stage; all zero if it is negligible. None: unknown, because nothing was measured."""

    tokens: int | None = 0
    device_seconds: float | None = 0.0  # summed over the devices it occupies
    usd: float | None = 0.0
    wall_seconds: float | None = 0.0  # from the start of its worker
    disk_bytes: int | None = 0  # that it leaves in the store
    tokens_low: float = 1.0  # with 95% confidence, tokens lie between these two times `tokens`,
    tokens_high: float = 1.0
    time_low: float = 1.0  # and seconds and USD between these two times theirs
    time_high: float = 1.0


@dataclass(frozen=True)
class Usage:
    """What a finished stage says that it took, beside time."""

    tokens: int | None = None  # trained, sampled or paid for; None: it counts none
    usd: float = 0.0  # charged by others, beside the price of devices


@dataclass(frozen=True)
class SweepRequest:
    """Everything a command requests apart from its points."""

    command: str  # reproduces these points, independent of store and results folder
    values: Sequence[Mapping[str, Json]]  # for each point, its values by axis field
    store: Path
    store_id: Callable[[], str] = field(default=str, compare=False)  # created on first use: planning writes nothing
    pins: Path = Path("pins.lock")  # commits of names on the hub; in the working directory
    # Of a command in rounds, plan the round that ends in this stage; None: the first that is not finished.
    product: str | None = None
    is_publishing: bool = False  # of a command in rounds, plan the last finished round


@dataclass(frozen=True)
class Workers:
    """Number of local worker processes, CPU threads of each, and their supervision."""

    count: int
    threads: int
    take_over: bool = False  # take stages over from a holder whose state cannot be checked (--yes)
    stall_minutes: float | None = None  # end a worker after this time without progress; None: never


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
LONGEST_NAME = 200  # bytes: file systems allow 255, and submission folders append a timestamp
RESERVED = ("published", "paper", "benchmarks", "latest")  # folders and links in results/ that belong to no experiment


def check_name(name: str) -> None:
    """Raises InputError for a name that cannot be a results folder on every file system."""
    if not NAME.fullmatch(name):
        raise InputError(f"name {name!r}: not a plain folder name. Use letters, digits, dots, dashes.")
    if len(name) > LONGEST_NAME:
        raise InputError(f"name {name[:40]}...: {len(name)} characters. Use at most {LONGEST_NAME}.")
    if name.casefold() in RESERVED:
        raise InputError(f"name {name!r}: reserved (so are {', '.join(RESERVED)}). Choose another name.")


class LiveMirror(Protocol):
    """Shows stages elsewhere while they are made. Its own failures are warnings that it logs."""

    def follow(self, at_work: Mapping[str, Path]) -> None:
        """Send what is new of these stages, given as scratch folders by address, and leave all others."""
        ...

    def failed(self, failures: Mapping[str, str]) -> None:
        """Show that stages failed: messages by address. Called once for each failure."""
        ...

    def unsent(self) -> Sequence[str]:
        """Names of what is finished and not shown completely."""
        ...

    def close(self) -> None:
        """Leave all stages."""
        ...


class NotInstalled(str):
    """A line of `Graph.missing` about a library whose version is part of stage keys, and that is not installed here."""

    __slots__ = ()

    def for_image(self) -> str:
        """The line for jobs that run in a container."""
        library = self.partition(":")[0]
        return (
            f"{library}: not installed here. Jobs run in launch.container.image, but the stage keys have the versions"
            f" of the plan. Install the image's {library} here, too (docs/slurm.md#containers)."
        )


@dataclass(frozen=True)
class Graph:
    name: str  # results/<name>/<key of the artifact>
    artifact: Stage  # the stage whose files are the result
    table: Callable[[Path], Sequence[Mapping[str, str]]]  # rows to print, from its directory
    workers: Workers
    estimates: Mapping[str, CostEstimate]  # by stage address
    on_finished: Callable[[Stage, Path], None]  # mirror a stage and its directory, once; never ends the run
    points: int
    remarks: Callable[[Mapping[str, Summary]], Sequence[str]]  # lines to print, from stage summaries by address
    usage: Callable[[Summary], Usage] = lambda summary: Usage()  # of a finished stage
    notes: Sequence[str] = ()  # lines to print before it runs
    missing: Mapping[str, Sequence[str]] = field(  # by stage address: why it cannot run here
        default_factory=dict[str, Sequence[str]]
    )
    launch: Launch = field(default_factory=Launch)
    # make damaged artifacts again automatically up to this total price; None: always
    remake_limit_usd: float | None = 1.0
    limits: Limits = field(default_factory=Limits)  # on the cost of everything that is made for the result
    # address of the final stage whose directory keeps what the result has cost: that of the first round; "": artifact's
    account: str = ""
    prefetch: Callable[[Sequence[Stage]], Iterable[str]] = lambda stages: ()  # download the inputs of these stages
    unpinned: Callable[[Sequence[Stage]], Sequence[str]] = lambda stages: ()  # unpinned hub names, a line each
    # a smaller graph that tells what this one will take: so many questions, drawn with a seed; None: there is none
    probe: Callable[[int, int], Graph] | None = None
    live: LiveMirror | None = None  # None: nothing is mirrored while it runs
    is_in_rounds: bool = False  # once it is finished, planning the same command again gives the next round, if any
    # Stages that check each kind of node that these stages run on; the text makes them different from earlier checks.
    preflight: Callable[[Sequence[Stage], str], Sequence[Stage]] = lambda stages, asked_at: ()
    # Record the current commits of hub names; True: refresh pinned names too. A line each.
    pin: Callable[[Sequence[Stage], bool], Iterable[str]] = lambda stages, refresh: ()

    def __post_init__(self) -> None:
        check_name(self.name)

    def supervised(self, take_over: bool) -> Graph:
        """The same graph with local workers supervised according to `launch`."""
        workers = replace(self.workers, take_over=take_over, stall_minutes=self.launch.stall_minutes)
        return replace(self, workers=workers)

    @property
    def accounted_at(self) -> str:
        """Address of the final stage beside which the costs of the result are kept."""
        return self.account or self.artifact.address

    def missing_for(self, needed: Iterable[Stage]) -> list[str]:
        """Why needed stages cannot run on this machine, or in the container of its jobs, a line each, with the fix."""
        found = dict.fromkeys(line for stage in needed for line in self.missing.get(stage.address, ()))
        is_contained = self.launch.image is not None
        return [line.for_image() if is_contained and isinstance(line, NotInstalled) else line for line in found]


@dataclass(frozen=True)
class ComposedPoint:
    """A point of a recorded command, composed again, with its whole configuration."""

    point: Any  # of the pipeline's schema
    choices: Mapping[str, str]  # the option of each group, by the field it sets
    fields: Mapping[str, Any]  # all fields, nested, as JSON

    def value(self, field: str) -> Json:
        """The value of a field; of a group, the chosen option; None for a field that this configuration lacks."""
        if field in self.choices:
            return self.choices[field]
        value: Any = self.fields
        for name in field.split("."):
            value = value.get(name) if is_mapping(value) else None
        return value


@dataclass(frozen=True)
class FinishedResult:
    """A published result: its final stage, as recorded in the store, and the digests that its manifest names."""

    name: str  # name/key
    artifact: RecordedStage
    digests: Mapping[str, str]  # by address


@dataclass(frozen=True)
class MergeRequest:
    """Everything that `sweep merge` requests apart from the results."""

    name: str  # of the merged result
    command: str  # repeats the merge, independent of store and results folder
    compose: Callable[[str], Sequence[ComposedPoint]]  # points of a recorded command. Raises InputError
    like: str | None = None  # name of the result whose settings count where they differ
    is_apart: bool = False  # keep the points of each result in series of their own


@dataclass(frozen=True)
class SharedReport:
    """Statistics and faults of the folder that the stages of a batch share."""

    lines: tuple[str, ...]  # one per store: "continuations: 300 streams, 51,234 tokens"
    faults: tuple[str, ...]  # `<file>: <what is wrong>`, paths relative to the folder


@dataclass(frozen=True)
class PublishedResult:
    """A result in its folder, as a written report needs it."""

    name: str  # name/key
    experiment: str
    path: Path
    store: Path
    artifact: str  # address of its final stage
    stages: Mapping[str, Mapping[str, Any]]  # all stages behind it by address, as in manifest.json
    files: Sequence[str]
    costs: Sequence[Mapping[str, Any]]  # planned and spent, by stage name (sweep/results/costs.py)
    cost_line: str | None  # the same in one line; None: nothing is known about what was planned


class Report(Protocol):
    """The written report of a result."""

    def markdown(self, link: Callable[[str], str]) -> str:
        """The whole text. `link`: from a file of the result to its address in the text."""
        ...

    def send(self, project: str | None) -> Sequence[str]:
        """Write it to the tracker, beside the runs; lines to print. Raises InputError with what to do."""
        ...


class Pipeline(Protocol):
    """Interface that a pipeline module implements."""

    Point: type[Any]  # a frozen dataclass

    def graph(self, points: Sequence[Any], request: SweepRequest) -> Graph:
        """Plan all points together."""
        ...

    def report(self, result: PublishedResult) -> Report:
        """The written report of a result. Raises InputError for one that has none."""
        ...

    def merged(self, results: Sequence[FinishedResult], request: MergeRequest) -> Graph:
        """Plan one result over the points of several. Raises InputError for results that cannot be merged."""
        ...

    def show(self, folder: Path, request: ShowRequest) -> Shown:
        """Show a published result in a terminal, from its folder alone. Raises InputError for what it lacks."""
        ...

    def shared(self, directory: Path) -> SharedReport:
        """Inspect the shared folder of a batch, including its redo-<n>/ folders. Read-only."""
        ...

    def repair_shared(self, directory: Path) -> None:
        """Repair the shared folder of a batch. The caller holds the store exclusively."""
