"""A stage: one named step of an experiment, as an inert value, and the work order its function receives.

What a stage *is* (name, version, config, inputs) makes its key. How and where it runs (label, run, settings, batch,
shards, resources) cannot reach the key: `identity()` is the only thing hashed, and it does not mention them.

    key = key_of({name, version, config, inputs: {role: [key, ...]}, code: of a FINAL stage, what it computes with})

How its code counts is declared too, because it follows from the place in the plan (CodePolicy).

A stage function takes a `Work` and returns a summary of a few numbers:

    def train(work: Work[Sft]) -> Summary

Stages that want the same heavy thing in memory declare the same `batch`. One process then receives them together,
and their function takes all works at once and reports each as it finishes:

    def answer(works: Sequence[Work[Generate]]) -> Iterator[Finished]

A stage of several processes (`resources`) is made by all of them together: each runs the same function, and the first
one's `out` is the product (sweep/worker/ranks.py).

A long stage may be made in `shards`: stages of their own, which run side by side on different machines and are resumed
each by itself. Its function then puts their products together, into what it would have made without them.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

from sweep.core.identity import KEY_CHARACTERS, CodeIdentity, Identity, Json, canonical, cite, key_of
from sweep.source.memo import remembered_source

Config = TypeVar("Config", covariant=True)
Summary: TypeAlias = Mapping[str, float | int | str | None]


@dataclass(frozen=True)
class FileInput:
    """A file from outside the store; its content is its identity, its path is only where to read it."""

    path: Path
    key: str

    @classmethod
    def of(cls, path: Path) -> FileInput:
        """Hash the file's bytes, however many; raises OSError if it cannot be read."""
        state = path.stat()
        return cls(path=path.resolve(), key=_file_key(path.resolve(), state.st_size, state.st_mtime_ns))


@cache
def _file_key(path: Path, size_bytes: int, modified_ns: int) -> str:
    """Hashed once for each state of the file: a model of 65 GB is an input of every point."""
    del size_bytes, modified_ns  # they tell one state from another
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:KEY_CHARACTERS]


Input: TypeAlias = "Stage | FileInput"


@dataclass(frozen=True)
class Resources:
    """What a stage asks of a cluster; no part of what it is. None: what the launch settings say."""

    script: str = "cpu"  # its kind of job: slurm/<script>.sbatch
    nodes: int = 1
    devices: int = 0  # GPUs of each node
    processes: int = 1  # that make it together, on each node
    cpus: int | None = None  # of each node
    memory_gib: int | None = None  # of each node
    minutes: int | None = None  # the walltime limit


class CodePolicy(Enum):
    """How the code of a stage counts, by the stage's place in the plan."""

    FINAL = "final"  # cheap, and nothing but results rests on it: its source is in its key, it follows every change
    UPSTREAM = "upstream"  # others rest on it: version by hand; after a change it is made aside and compared
    EXPENSIVE = "expensive"  # version by hand; reused after a change, which is reported; made again by redo= alone


@dataclass(frozen=True)
class Stage:
    """One step; equal identities are the same step, wherever and for whichever point they are declared."""

    name: str  # the noun of its product: "checkpoint", "answers"
    version: int  # bumped by hand when the meaning of its code changes
    config: Any  # a frozen dataclass; all of it is identity
    run: str  # "s1.train.sft:train"
    inputs: Mapping[str, tuple[Input, ...]] = field(default_factory=dict[str, tuple[Input, ...]])  # by role
    settings: Mapping[str, Json] = field(default_factory=dict[str, Json])  # how it runs: device, micro-batch, price
    shards: tuple[Stage, ...] = ()  # whose products make up its own; (): it is made as a whole
    batch: str | None = None  # stages of one batch run in one process
    worker: int = 0  # or in several, that share the batch's folder: those of one number in one process
    resources: Resources = Resources()  # of the process that makes it; a batch has one, that of its first stage
    label: str = ""  # for people: "max 16 tokens"
    code: CodePolicy = field(kw_only=True)
    # Functions called by names that its source does not show, as in `run`; after a minus: those that do not count.
    code_roots: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()  # distributions whose versions are in the key of a FINAL stage
    is_remote: bool = False  # made of what is elsewhere, such as on a hub: never made again just to compare

    def identity(self) -> Identity:
        """Everything the key depends on, as JSON."""
        asked = self._asked({role: [each.key for each in inputs] for role, inputs in self.inputs.items()})
        if self.code is CodePolicy.FINAL:
            asked["code"] = self._code()
        return asked

    @cached_property
    def key(self) -> str:
        return key_of(self.identity())

    @cached_property
    def request_key(self) -> str:
        """Its key if no code were in any key: equal for stages that differ in code alone."""
        inputs = {role: [_request_key(each) for each in inputs] for role, inputs in self.inputs.items()}
        return key_of(self._asked(inputs))

    @property
    def roots(self) -> tuple[str, ...]:
        """Every function that has a part in its product."""
        return tuple(dict.fromkeys([self.run, *(shard.run for shard in self.shards), *self.code_roots]))

    def _asked(self, inputs: Mapping[str, list[str]]) -> Identity:
        return {
            "name": self.name,
            "version": self.version,
            "config": canonical(self.config),
            "inputs": inputs,
        }

    def _code(self) -> CodeIdentity:
        """What it computes with. Raises SourceError if its function is not there."""
        files = dict(remembered_source((self.run, *self.code_roots)))
        return {"files": files, "packages": {name: installed_version(name) for name in self.packages}}

    @property
    def address(self) -> str:
        """`name/key`: where the store keeps it and how people and tables call it."""
        return f"{self.name}/{self.key}"

    def rests_on(self) -> Iterator[Stage]:
        """What must be finished before it: inputs that are stages themselves, role by role, and its shards."""
        yield from (each for inputs in self.inputs.values() for each in inputs if isinstance(each, Stage))
        yield from self.shards


def _request_key(each: Stage | FileInput) -> str:
    return each.request_key if isinstance(each, Stage) else each.key


@cache
def installed_version(distribution: str) -> str | None:
    """None: not installed here."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Shard:
    """One of those that make up a product, finished."""

    out: Path  # its product directory
    summary: Summary


@dataclass(frozen=True)
class Work(Generic[Config]):
    """An order to make one stage's product: read `inputs`, write files into `out`, return a summary."""

    key: str
    config: Config
    inputs: Mapping[str, tuple[Path, ...]]  # by role: product directories, or files from outside
    out: Path  # exists and is empty; published by rename when the function returns
    scratch: Path  # survives attempts at this stage, removed when it is published: checkpoints in mid-training
    shared: Path  # survives and is shared by all stages of the same batch: the continuation store
    settings: Mapping[str, Json]
    report: Callable[[int, int, str], None]  # progress: done, total, unit
    shards: tuple[Shard, ...] = ()  # which its product is put together from; (): it is made as a whole
    digests: Mapping[str, tuple[str, ...]] = field(  # of the inputs, 12 hex, by role
        default_factory=dict[str, tuple[str, ...]]
    )

    def one(self, role: str) -> Path:
        """The single input of a role."""
        (path,) = self.inputs[role]
        return path

    def cited(self, role: str) -> tuple[str, ...]:
        """`name/key@digest` of the stages of a role; shorten them by `identity.shortened`."""
        addresses = (f"{out.parents[1].name}/{out.parent.name}" for out in self.inputs[role])
        return tuple(cite(address, digest) for address, digest in zip(addresses, self.digests[role], strict=True))


class Interrupted(Exception):
    """Raised by a stage function that was asked to stop and has saved its work: not a failure, it goes on later."""


@dataclass(frozen=True)
class Finished:
    """A stage of a batch whose product is complete."""

    key: str
    summary: Summary


StageFunction: TypeAlias = Callable[[Work[Any]], Summary]
BatchFunction: TypeAlias = Callable[[Sequence[Work[Any]]], Iterator[Finished]]
