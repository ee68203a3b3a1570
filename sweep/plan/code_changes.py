"""Find finished artifacts whose code has changed, and decide what happens to them.

    EXPENSIVE   reused, with one line that names the files; redo= makes it again
    UPSTREAM    remade in a temporary store from its own inputs, and compared. If the bytes are equal, it is reused, and
                the result is stored by code digest. If they differ, nothing runs until the user adds redo= or raises
                the version. A stage that took more than 10 s or uses remote data is not compared, but reported and
                reused.

The key of a FINAL stage includes its code. An artifact of an earlier version, whose record has no code, is reused.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sweep.core.stage import CodePolicy, Stage
from sweep.json_files import read_sealed, sealed
from sweep.places import PROJECT, environment_of_workers
from sweep.plan.planning import Planned
from sweep.source.digest import SourceError, changed_files, digest_of_source
from sweep.source.memo import remembered_source
from sweep.store.checksums import FileState, file_states
from sweep.store.directory import StageDirectory as Directory
from sweep.store.directory import Store, StoreError, describe, write_json
from sweep.store.documents import SourceJson
from sweep.store.status_files import failure_message
from sweep.store.temporary import token

LONGEST_S = 10.0  # stages that took longer are not remade to compare
STARTUP_S = 120.0  # of the process that makes them: it imports large libraries
FILES_NAMED = 3
COMPARISONS = "aside"  # folder in the store, with a temporary store for each comparison


@dataclass(frozen=True)
class Change:
    """A finished stage, and the source files that changed since it was made."""

    stage: Stage
    files: tuple[str, ...]
    code: str  # digest of the current code
    unchecked: str = ""  # why it was not made again for the comparison


@dataclass(frozen=True)
class CodeReport:
    """Lines to print about changed code."""

    stops: tuple[str, ...] = ()  # one line for each change that must be resolved before anything runs
    reused: tuple[str, ...] = ()
    unknown: int = 0  # artifacts whose record has no code


def code_report(found: Planned, store: Store) -> CodeReport:
    """Compare the code of a plan's finished artifacts with the code that made them; remakes cheap ones to compare."""
    shards = {
        shard.address for whole in found.stages for shard in whole.shards
    }  # covered by the stage that merges them
    finished = [stage for stage in found.stages if stage.address not in shards and _is_reused(stage, found, store)]
    sources = {stage.address: _source_of(store.directory(stage)) for stage in finished}
    changes = [change for stage in finished if (change := _change(stage, sources[stage.address]))]
    expensive = [each for each in changes if each.stage.code is CodePolicy.EXPENSIVE]
    upstream = [each for each in changes if each.stage.code is CodePolicy.UPSTREAM]
    differing, unchecked = _compare([each for each in upstream if each.stage.address not in found.stale], store)
    return CodeReport(
        stops=tuple(_stop(change, artifacts) for change, artifacts in differing),
        reused=(
            *_lines(expensive),
            *_lines(unchecked),
            *_stale_lines([stage for stage in finished if stage.address in found.stale], found.stale),
        ),
        unknown=sum(not source for source in sources.values()),
    )


def _is_reused(stage: Stage, found: Planned, store: Store) -> bool:
    """Whether it is finished, not FINAL, and not about to be made again."""
    is_made = stage.address in found.again or stage.address in found.damaged
    return stage.code is not CodePolicy.FINAL and not is_made and store.is_done(stage)


def _source_of(directory: Directory) -> SourceJson | None:
    """Code in its record."""
    with suppress(StoreError):  # the plan reports the damage
        return directory.read_record().get("source")
    return None


def _change(stage: Stage, source: SourceJson | None) -> Change | None:
    """Compare with the roots in its record, so that sharding does not count as a change of code."""
    if not source or not source["files"]:
        return None
    now = _source(tuple(source["roots"])) or _source(stage.roots) or {}
    files = changed_files(source["files"], now)
    return Change(stage, tuple(files), digest_of_source(now)) if files else None


def _source(roots: tuple[str, ...]) -> Mapping[str, str] | None:
    try:
        return remembered_source(roots)
    except SourceError:  # renamed since
        return None


# ------------------------------------------------------------------------------------------------ remade to compare


def _compare(changes: Sequence[Change], store: Store) -> tuple[list[tuple[Change, list[str]]], list[Change]]:
    """Changes that alter the artifact, with the files that differ; and changes that were not compared."""
    differing: list[tuple[Change, list[str]]] = []
    unchecked: list[Change] = []
    to_make: list[Change] = []
    for change in changes:
        known = _remembered(store.directory(change.stage)).get(change.code)
        if known is not None:
            differing += [(change, known)] if known else []
        elif obstacle := _obstacle(change.stage, store):
            unchecked.append(replace(change, unchecked=obstacle))
        else:
            to_make.append(change)
    made = _make_temporary(to_make, store) if to_make else {}
    for change in to_make:
        directory, files = store.directory(change.stage), made.get(change.stage.address, "it could not be remade")
        if isinstance(files, str):
            unchecked.append(replace(change, unchecked=files))
            continue
        artifacts = changed_files(_hashes(directory.read_record().get("files", {})), _hashes(files))
        with suppress(OSError):  # a read-only store: compared again next time
            write_json(directory.same_code_file, sealed({**_remembered(directory), change.code: artifacts}))
        differing += [(change, artifacts)] if artifacts else []
    return differing, unchecked


def _remembered(directory: Directory) -> dict[str, list[str]]:
    """Artifact files that differ between its code and other code, by the digest of that code."""
    with suppress(StoreError, OSError):  # missing or damaged: compared again
        return read_sealed(directory.same_code_file)
    return {}


def _obstacle(stage: Stage, store: Store) -> str | None:
    """Why it is not made again for the comparison; None if it is."""
    record = store.directory(stage).read_record()
    if stage.is_remote:
        return "its source is remote"
    if record["seconds"] > LONGEST_S:
        return f"it took {record['seconds']:.0f} s"
    if not all(store.is_done(each) for each in stage.dependencies()):
        return "its inputs are missing"
    return None if "files" in record else "its record has no checksums"


def _hashes(files: Mapping[str, FileState]) -> dict[str, str]:
    return {name: state["sha256"] for name, state in files.items()}


def _make_temporary(changes: Sequence[Change], store: Store) -> dict[str, Mapping[str, FileState] | str]:
    """File states of the artifacts that the current code makes from the same inputs, by address; or why it failed."""
    temporary = store.root / COMPARISONS / token()
    try:
        directories = {
            change.stage.address: _prepare_temporary(temporary / str(number), change.stage, store)
            for number, change in enumerate(changes)
        }
        command = [
            sys.executable,
            "-m",
            "sweep.worker.run",
            "--each",
            *(str(each.path) for each in directories.values()),
        ]
        limit_s = STARTUP_S + 2 * LONGEST_S * len(changes)
        subprocess.run(
            command,
            cwd=PROJECT,
            env=environment_of_workers(),
            capture_output=True,
            check=False,
            timeout=limit_s,
        )
        return {address: _outcome(each) for address, each in directories.items()}
    except OSError as error:  # a read-only store
        return dict.fromkeys((change.stage.address for change in changes), f"it cannot be remade ({error})")
    except subprocess.TimeoutExpired:
        return dict.fromkeys((change.stage.address for change in changes), "remaking it took too long")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if temporary.parent.is_dir() and not any(temporary.parent.iterdir()):
            temporary.parent.rmdir()


def _outcome(directory: Directory) -> Mapping[str, FileState] | str:
    if directory.is_done:
        return file_states(directory.out)
    if directory.failed_file.exists():
        return f"its current code fails ({failure_message(directory.failed_file)})"
    return "it could not be remade"


def _prepare_temporary(root: Path, stage: Stage, store: Store) -> Directory:
    """A store with this one stage and links to its inputs."""
    directory = Store(root).prepare(stage)
    for each in stage.dependencies():
        link = root / each.address
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(os.path.relpath(store.directory(each).path, link.parent))
    described = {**describe(stage), "resources": {}}  # one local process
    write_json(directory.stage_file, described, durable=False)
    return directory


# ------------------------------------------------------------------------------------------------------- lines


def _stop(change: Change, artifacts: Sequence[str]) -> str:
    stage = change.stage
    return (
        f"{stage.address}: its code changed ({_some(change.files)}) and now makes a different {_some(artifacts)}."
        f" Add redo={stage.name} to replace the artifact, or raise the version of the stage in the code to keep both."
    )


def _lines(changes: Sequence[Change]) -> list[str]:
    """One line for each name, set of files and reason."""
    groups: dict[tuple[str, tuple[str, ...], str], list[str]] = {}
    for change in changes:
        groups.setdefault((change.stage.name, change.files, change.unchecked), []).append(change.stage.address)
    return [
        f"{_first(addresses)}: made by other code ({_some(files)});"
        f" {f'unchecked, {why}; ' if why else ''}reused. redo={name} makes {_them(addresses)} again."
        for (name, files, why), addresses in groups.items()
    ]


def _stale_lines(stages: Sequence[Stage], stale: Mapping[str, str]) -> list[str]:
    groups: dict[tuple[str, str], list[str]] = {}
    for stage in stages:
        groups.setdefault((stage.name, stale[stage.address]), []).append(stage.address)
    return [
        f"{_first(addresses)}: {why}; reused. redo={name} makes {_them(addresses)} again."
        for (name, why), addresses in groups.items()
    ]


def _first(addresses: Sequence[str]) -> str:
    return addresses[0] if len(addresses) == 1 else f"{addresses[0]} and {len(addresses) - 1} more"


def _them(addresses: Sequence[str]) -> str:
    return "it" if len(addresses) == 1 else "them"


def _some(names: Sequence[str]) -> str:
    rest = f" and {len(names) - FILES_NAMED} more" if len(names) > FILES_NAMED else ""
    return ", ".join(names[:FILES_NAMED]) + rest
