"""Plan and run a command from Python, and read verified artifacts; s1/api.py uses nothing else of sweep/.

Runs the same functions as `python -m sweep`; where that prints a reason and exits with 1, this raises an exception.
"""

from __future__ import annotations

import errno
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

from sweep.cli.run import graph_of, obstacles_of, run_graph
from sweep.config.compose import compose
from sweep.console import Console
from sweep.core.launch import LaunchKind
from sweep.core.pipeline import CostEstimate, Graph
from sweep.core.stage import Stage
from sweep.errors import InputError, SweepError
from sweep.hashing import sha256_if_readable
from sweep.json_files import StoreError
from sweep.plan.code_changes import code_report
from sweep.plan.planning import Planned, planned
from sweep.results.costs import limit_lines
from sweep.results.result import MANIFEST, Result, read_result
from sweep.store.checksums import changed_files_by_hash
from sweep.store.directory import StageDirectory, Store, description_faults
from sweep.store.permission import explained
from sweep.store.status_files import failure_message

__all__ = ["Artifact", "InputError", "PublishedResult", "RunError", "RunPlan", "StageEstimate", "StoreError"]
FAILURES_NAMED = 5
PublishedResult: TypeAlias = Result


class RunError(SweepError, RuntimeError):
    """A planned command did not reach its result: a stage failed, or it needs a decision first."""


@dataclass(frozen=True)
class StageEstimate:
    """A stage that would run, and its expected cost."""

    address: str  # name/key
    label: str
    tokens: int | None  # None, here and below: unknown, because nothing was measured
    device_seconds: float | None
    usd: float | None


@dataclass(frozen=True)
class RunPlan:
    """The plan of a command."""

    name: str
    points: int
    needed: tuple[StageEstimate, ...]  # in execution order
    reused: tuple[str, ...]  # addresses
    notes: tuple[str, ...]  # to read before it runs
    obstacles: tuple[str, ...]  # why it cannot run here, or what the user must decide first


@dataclass(frozen=True)
class Artifact:
    """A finished stage whose files match its record."""

    address: str
    digest: str
    out: Path
    config: Mapping[str, Any]  # parsed JSON
    inputs: Mapping[str, tuple[str, ...]]  # addresses by role, without files from outside the store


@contextmanager
def only_our_errors() -> Generator[None]:
    """Raise only the exceptions of the API; errors of the file system get an explanation."""
    try:
        yield
    except (InputError, StoreError, RunError):
        raise
    except SweepError as error:
        raise RunError(str(error)) from error
    except OSError as error:
        kind = InputError if error.errno in (errno.ENAMETOOLONG, errno.ELOOP) else StoreError
        raise kind(explained(error)) from error


@only_our_errors()
def plan_command(arguments: Sequence[str]) -> RunPlan:
    """Plan a command line without running it. Raises InputError, StoreError."""
    composition = compose(arguments)
    graph, store = graph_of(composition), Store(composition.entry.store)
    found = planned(graph, store, composition.entry.redo)
    return RunPlan(
        name=graph.name,
        points=graph.points,
        needed=tuple(_estimate(stage, graph) for stage in found.work.needed),
        reused=tuple(stage.address for stage in found.work.reused),
        notes=tuple(graph.notes),
        obstacles=(
            *obstacles_of(graph, found, code_report(found, store)),
            *limit_lines(graph, store, found.work.needed)[0],
            *graph.unpinned(found.work.needed),
        ),
    )


@only_our_errors()
def run_command(arguments: Sequence[str], quiet: bool = False) -> tuple[Path, Path]:
    """Run a command line on this machine and return its result directory and its store.

    Raises InputError for a wrong command line, StoreError for a damaged store, RunError if it ended without a result.
    """
    composition = compose(arguments)
    graph, store = graph_of(composition), Store(composition.entry.store)
    if composition.entry.plan:
        raise InputError("plan true: this call runs the command. Leave it out, or call s1.plan.")
    if graph.launch.kind is not LaunchKind.LOCAL:
        raise InputError("launch slurm: this call runs on this machine. Submit it with python -m sweep, then load it.")
    outcome = run_graph(Console(quiet=quiet), composition, graph)
    if outcome.published is None:
        raise RunError("\n".join(outcome.obstacles or _failures(outcome.planned, store)))
    return outcome.published.path, store.root


def open_result(path: Path, store: Path) -> Result:
    """Read a result directory and compare its manifest with the final stage, if the store has it.

    Raises InputError if it is not a result, StoreError if its manifest is damaged.
    """
    result = read_result(path)
    if result is None:
        raise InputError(f"{path}: not a result, it has no {MANIFEST}. Name results/NAME/KEY or results/NAME/latest.")
    files = result.manifest.files
    if files is None or result.manifest.artifact is None:
        raise InputError(f"{path}: published by an earlier version. Run its command again.")
    artifact = _directory(store / result.manifest.artifact, result.manifest.digest)
    states = artifact.read_record().get("files", {}) if artifact else {}
    if any(name in states and states[name]["sha256"] != sha256 for name, sha256 in files.items()):
        raise StoreError(f"{path / MANIFEST}: damaged, its files are not those of its artifact. Move the result away.")
    return result


@only_our_errors()
def file_of(result: Result, name: str) -> Path:
    """Verify one of the result's files. Raises InputError if there is none of that name, StoreError if it changed."""
    files = result.manifest.all_files
    if name not in files:
        raise InputError(f"{name}: no such file in {result.name}. Known: {', '.join(sorted(files))}.")
    if sha256_if_readable(result.path / name) != files[name]:
        raise StoreError(f"{result.path / name}: changed since it was published. Run the command again.")
    return result.path / name


@only_our_errors()
def artifact_of(result: Result, address: str, store: Path) -> Artifact:
    """Read and verify every byte of an artifact the result was made from. Raises StoreError."""
    expected = result.manifest.digests.get(address)
    if not expected:
        raise StoreError(f"{address}: has no digest in {result.name}. Check the address, or run the command again.")
    place = StageDirectory(store / address)
    if not place.path.is_dir():
        raise StoreError(f"{address}: not in the store {store}. Name the store: s1.load(PATH, store=DIR).")
    directory = _directory(place.path, expected)
    if directory is None:
        raise StoreError(
            f"{address}: unfinished, or differs from the artifact {expected} that {result.name} was made from."
            " Run its command again."
        )
    return _verified(address, directory, expected)


def _directory(path: Path, digest: str) -> StageDirectory | None:
    """The directory with this digest: the stage's own, or one that was set aside when it was made again."""
    there = (StageDirectory(path), *map(StageDirectory, sorted(path.glob("superseded-*"))))
    return next((each for each in there if each.is_done and each.digest == digest), None)


def _verified(address: str, directory: StageDirectory, digest: str) -> Artifact:
    described = directory.read_stage()
    is_here = f"{directory.path.parent.name}/{directory.path.name}" == address
    faults = directory.faults(changed_files_by_hash) + (description_faults(directory, described) if is_here else [])
    if faults:
        raise StoreError(f"{address}: damaged, {faults[0]}. Run python -m sweep store check.")
    return Artifact(
        address=address,
        digest=digest,
        out=directory.out,
        config=cast(Mapping[str, Any], described["identity"]["config"]),  # a dataclass is stored as a table
        inputs={
            role: tuple(each["stage"] for each in places if "stage" in each)
            for role, places in described["inputs"].items()
        },
    )


def _estimate(stage: Stage, graph: Graph) -> StageEstimate:
    expected = graph.estimates.get(stage.address, CostEstimate())
    return StageEstimate(stage.address, stage.label, expected.tokens, expected.device_seconds, expected.usd)


def _failures(found: Planned, store: Store) -> list[str]:
    """One line for each failed stage; a worker that was killed leaves no failure, so then only their number."""
    unfinished = [store.directory(stage) for stage in found.work.needed if not store.is_done(stage)]
    failed = [each for each in unfinished if each.failed_file.exists()]
    lines = [f"{each.address}: {failure_message(each.failed_file)} Log: {each.log_file}" for each in failed]
    return lines[:FAILURES_NAMED] or [f"{len(unfinished)} stages are not finished. Run the command again to resume."]
