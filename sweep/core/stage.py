"""A stage: one named step of an experiment, as an immutable value, and the `Work` that its function receives.

The key hashes what a stage is: name, version, config, inputs. How and where it runs (label, run, settings, batch,
shards, resources) cannot affect the key, because only `identity()` is hashed.

    key = key_of({name, version, config, inputs: {role: [key, ...]}, code: digests, for a FINAL stage})

Each stage declares how changes of its code are treated (CodePolicy).

A stage function takes a `Work` and returns a summary of a few numbers:

    def train(work: Work[CheckpointConfig]) -> Summary

Stages that need the same large object in memory, such as a model, declare the same `batch`. One process runs them;
their function takes all works and yields each stage as it finishes:

    def answer(works: Sequence[Work[Generate]]) -> Iterator[Finished]

For a stage with several processes (`resources`), each process runs the same function, and the `out` of rank 0 is the
artifact (sweep/worker/ranks.py).

A long stage can be split into `shards`: stages that run in parallel on different machines and resume independently. Its
function then merges their artifacts, with the same result as without shards.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

from sweep.core.identity import KEY_CHARACTERS, CodeIdentity, Identity, Json, canonical, cite, key_of
from sweep.hashing import sha256_of
from sweep.source.memo import remembered_source

Config = TypeVar("Config", covariant=True)
Summary: TypeAlias = Mapping[str, float | int | str | None]


@dataclass(frozen=True)
class FileInput:
    """A file outside the store, identified by its content; the path only locates it."""

    path: Path
    key: str

    @classmethod
    def of(cls, path: Path) -> FileInput:
        """Hash the file. Raises OSError if it cannot be read."""
        state = path.stat()
        return cls(path=path.resolve(), key=_file_key(path.resolve(), state.st_size, state.st_mtime_ns))


@cache
def _file_key(path: Path, size_bytes: int, modified_ns: int) -> str:
    """Cached per state of the file, because a model of 65 GB can be an input of every point."""
    del size_bytes, modified_ns  # they identify the state
    return sha256_of(path)[:KEY_CHARACTERS]


Input: TypeAlias = "Stage | FileInput"


@dataclass(frozen=True)
class Resources:
    """Cluster resources of a stage; not part of its identity. None: use the launch settings."""

    script: str = "cpu"  # job type: slurm/<script>.sbatch
    nodes: int = 1
    devices: int = 0  # GPUs per node
    processes: int = 1  # per node
    cpus: int | None = None  # per node
    memory_gib: int | None = None  # per node
    minutes: int | None = None  # walltime limit


class CodePolicy(Enum):
    """How a change of a stage's code is treated, depending on its position in the plan."""

    FINAL = "final"  # cheap, used only by results: its source is part of its key
    UPSTREAM = "upstream"  # used by other stages: manual version; after a change it is made again apart and compared
    EXPENSIVE = "expensive"  # manual version; reused after a change, with a note; made again only by redo=


@dataclass(frozen=True)
class Stage:
    """One step. Stages with equal identities are the same step, whichever point declares them."""

    name: str  # a noun for its artifact, such as "checkpoint"
    version: int  # increase it when a code change alters the artifact
    config: Any  # a frozen dataclass, entirely part of the identity
    run: str  # "s1.train.sft:train"
    inputs: Mapping[str, tuple[Input, ...]] = field(default_factory=dict[str, tuple[Input, ...]])  # by role
    settings: Mapping[str, Json] = field(default_factory=dict[str, Json])  # how it runs: device, micro-batch, price
    shards: tuple[Stage, ...] = ()  # stages whose artifacts it merges; (): it is not split
    batch: str | None = None  # stages of one batch share a process
    worker: int = 0  # process number, if several processes share the batch folder
    resources: Resources = Resources()  # of its process; a batch uses those of its first stage
    label: str = ""  # shown to users: "max 16 tokens"
    code: CodePolicy = field(kw_only=True)
    # Functions that it calls by name, in the format of `run`; a leading minus excludes a function.
    code_roots: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()  # distributions whose versions are in the key of a FINAL stage
    is_remote: bool = False  # made from remote data, such as a hub dataset: never made again only for a comparison

    def identity(self) -> Identity:
        """Everything that the key depends on, as JSON."""
        requested = self._requested({role: [each.key for each in inputs] for role, inputs in self.inputs.items()})
        if self.code is CodePolicy.FINAL:
            requested["code"] = self._code()
        return requested

    @cached_property
    def key(self) -> str:
        return key_of(self.identity())

    @cached_property
    def request_key(self) -> str:
        """The key without any code digests: equal for stages that differ only in code."""
        inputs = {role: [_request_key(each) for each in inputs] for role, inputs in self.inputs.items()}
        return key_of(self._requested(inputs))

    @property
    def roots(self) -> tuple[str, ...]:
        """Every function that contributes to its artifact."""
        return tuple(dict.fromkeys([self.run, *(shard.run for shard in self.shards), *self.code_roots]))

    def _requested(self, inputs: Mapping[str, list[str]]) -> Identity:
        return {
            "name": self.name,
            "version": self.version,
            "config": canonical(self.config),
            "inputs": inputs,
        }

    def _code(self) -> CodeIdentity:
        """Digests of its source and versions of its packages. Raises SourceError if its function does not exist."""
        files = dict(remembered_source((self.run, *self.code_roots)))
        return {"files": files, "packages": {name: installed_version(name) for name in self.packages}}

    @property
    def address(self) -> str:
        """`name/key`: its path in the store, and its name in tables."""
        return f"{self.name}/{self.key}"

    def dependencies(self) -> Iterator[Stage]:
        """Stages that must finish first: inputs that are stages, role by role, and shards."""
        yield from (each for inputs in self.inputs.values() for each in inputs if isinstance(each, Stage))
        yield from self.shards


def _request_key(each: Stage | FileInput) -> str:
    return each.request_key if isinstance(each, Stage) else each.key


@cache
def installed_version(distribution: str) -> str | None:
    """Version of an installed package; None if it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Shard:
    """A finished shard."""

    out: Path  # its artifact directory
    summary: Summary


def _within_limits() -> bool:
    return False


def _charge_nothing(usd: float) -> None:
    """Do nothing: there is no limit."""


@dataclass(frozen=True)
class Work(Generic[Config]):
    """Arguments of a stage function, which reads `inputs`, writes files into `out` and returns a summary."""

    key: str
    config: Config
    inputs: Mapping[str, tuple[Path, ...]]  # by role: artifact directories, or files outside the store
    out: Path  # exists and is empty; published when the function returns
    scratch: Path  # kept between attempts, removed after publishing; for training checkpoints
    shared: Path  # permanent and shared by all stages of the batch; for the continuation store
    settings: Mapping[str, Json]
    report: Callable[[int, int, str], None]  # report progress: done, total, unit
    shards: tuple[Shard, ...] = ()  # to merge; (): the stage is not split
    digests: Mapping[str, tuple[str, ...]] = field(  # of the inputs, 12 hex, by role
        default_factory=dict[str, tuple[str, ...]]
    )
    # whether a limit on the cost is reached: save what is there and raise Interrupted
    is_over_limit: Callable[[], bool] = _within_limits
    charge: Callable[[float], None] = _charge_nothing  # add what others have charged for this stage, in USD

    def one(self, role: str) -> Path:
        """The single input of a role."""
        (path,) = self.inputs[role]
        return path

    def cited(self, role: str) -> tuple[str, ...]:
        """`name/key@digest` of the stages of a role; `identity.shortened` shortens them."""
        addresses = (f"{out.parents[1].name}/{out.parent.name}" for out in self.inputs[role])
        return tuple(cite(address, digest) for address, digest in zip(addresses, self.digests[role], strict=True))


class Interrupted(Exception):
    """Raised by a stage function that saved its state after a stop signal. Not a failure: the stage resumes later."""


@dataclass(frozen=True)
class Finished:
    """A stage of a batch with a complete artifact."""

    key: str
    summary: Summary


StageFunction: TypeAlias = Callable[[Work[Any]], Summary]
BatchFunction: TypeAlias = Callable[[Sequence[Work[Any]]], Iterator[Finished]]
