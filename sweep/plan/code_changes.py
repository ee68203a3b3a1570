"""Finished products whose code has changed since, and what is to be said of them.

    EXPENSIVE   reused, in one line that names the files; redo= makes it again
    UPSTREAM    made again aside, from its own inputs, and compared: equal bytes, and it stands, which is remembered by
                the digest of the code; other bytes, and nothing runs until redo= or a version says what is meant
                What took longer than 10 s, or is made of what is elsewhere, is not made again: said, and used.

FINAL stages have their code in their key. A product whose record tells no code was made before records did: used.
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

LONGEST_S = 10.0  # to make, of what is made again to compare
STARTUP_S = 120.0  # of the process that makes them: heavy libraries on a busy disk
FILES_NAMED = 3
ASIDE = "aside"  # the folder of the store; in it a store of its own for each comparison


@dataclass(frozen=True)
class Change:
    """A finished stage, and the files of its code that are not what made it."""

    stage: Stage
    files: tuple[str, ...]
    code: str  # digest of the code as it is now
    unchecked: str = ""  # why its product was not made again to compare


@dataclass(frozen=True)
class CodeReport:
    """Lines for people."""

    stops: tuple[str, ...] = ()  # why nothing may run
    reused: tuple[str, ...] = ()
    unknown: int = 0  # products that were made before records told their code


def code_report(found: Planned, store: Store) -> CodeReport:
    """Hold the code of all finished products of a plan against what made them; makes the cheap ones again aside."""
    shards = {shard.address for whole in found.stages for shard in whole.shards}  # they are in what they make up
    finished = [stage for stage in found.stages if stage.address not in shards and _stands(stage, found, store)]
    sources = {stage.address: _source_of(store.directory(stage)) for stage in finished}
    changes = [change for stage in finished if (change := _change(stage, sources[stage.address]))]
    expensive = [each for each in changes if each.stage.code is CodePolicy.EXPENSIVE]
    upstream = [each for each in changes if each.stage.code is CodePolicy.UPSTREAM]
    differing, unchecked = _compare([each for each in upstream if each.stage.address not in found.stale], store)
    return CodeReport(
        stops=tuple(_stop(change, products) for change, products in differing),
        reused=(
            *_lines(expensive),
            *_lines(unchecked),
            *_stale_lines([stage for stage in finished if stage.address in found.stale], found.stale),
        ),
        unknown=sum(not source for source in sources.values()),
    )


def _stands(stage: Stage, found: Planned, store: Store) -> bool:
    """Finished, of a policy to be looked at, and not made again anyway."""
    is_made = stage.address in found.again or stage.address in found.damaged
    return stage.code is not CodePolicy.FINAL and not is_made and store.is_done(stage)


def _source_of(directory: Directory) -> SourceJson | None:
    """The code that its record names."""
    with suppress(StoreError):  # reported as damaged where it is needed
        return directory.read_record().get("source")
    return None


def _change(stage: Stage, source: SourceJson | None) -> Change | None:
    """Held against the roots that made it: a whole made in shards is not other code than one made alone."""
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


# ------------------------------------------------------------------------------------------------ made again aside


def _compare(changes: Sequence[Change], store: Store) -> tuple[list[tuple[Change, list[str]]], list[Change]]:
    """Those that give other bytes now, with the files of the product; and those that were not made again."""
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
    made = _make_aside(to_make, store) if to_make else {}
    for change in to_make:
        directory, files = store.directory(change.stage), made.get(change.stage.address, "it could not be made aside")
        if isinstance(files, str):
            unchecked.append(replace(change, unchecked=files))
            continue
        products = changed_files(_hashes(directory.read_record().get("files", {})), _hashes(files))
        with suppress(OSError):  # a store that cannot be written: compared again next time
            write_json(directory.same_code_file, sealed({**_remembered(directory), change.code: products}))
        differing += [(change, products)] if products else []
    return differing, unchecked


def _remembered(directory: Directory) -> dict[str, list[str]]:
    """Names of the product's files that other code makes otherwise, by the digest of that code."""
    with suppress(StoreError, OSError):  # not written yet, or damaged: compared again
        return read_sealed(directory.same_code_file)
    return {}


def _obstacle(stage: Stage, store: Store) -> str | None:
    """Why it is not made again only to compare."""
    record = store.directory(stage).read_record()
    if stage.is_remote:
        return "its source is not here"
    if record["seconds"] > LONGEST_S:
        return f"it took {record['seconds']:.0f} s"
    if not all(store.is_done(each) for each in stage.rests_on()):
        return "its inputs are gone"
    return None if "files" in record else "its record has no checksums"


def _hashes(files: Mapping[str, FileState]) -> dict[str, str]:
    return {name: state["sha256"] for name, state in files.items()}


def _make_aside(changes: Sequence[Change], store: Store) -> dict[str, Mapping[str, FileState] | str]:
    """What the code of now makes of the same inputs, by address; or why it makes nothing."""
    aside = store.root / ASIDE / token()
    try:
        directories = {
            change.stage.address: _prepare_aside(aside / str(number), change.stage, store)
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
    except OSError as error:  # a store that cannot be written
        return dict.fromkeys((change.stage.address for change in changes), f"it cannot be made aside ({error})")
    except subprocess.TimeoutExpired:
        return dict.fromkeys((change.stage.address for change in changes), "making it aside took too long")
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        if aside.parent.is_dir() and not any(aside.parent.iterdir()):
            aside.parent.rmdir()


def _outcome(directory: Directory) -> Mapping[str, FileState] | str:
    if directory.is_done:
        return file_states(directory.out)
    if directory.failed_file.exists():
        return f"its code fails now ({failure_message(directory.failed_file)})"
    return "it could not be made aside"


def _prepare_aside(root: Path, stage: Stage, store: Store) -> Directory:
    """A store of this one stage, in which links stand for its inputs."""
    directory = Store(root).prepare(stage)
    for each in stage.rests_on():
        link = root / each.address
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(os.path.relpath(store.directory(each).path, link.parent))
    described = {**describe(stage), "resources": {}}  # one process, here
    write_json(directory.stage_file, described, durable=False)
    return directory


# ------------------------------------------------------------------------------------------------------- the lines


def _stop(change: Change, products: Sequence[str]) -> str:
    stage = change.stage
    return (
        f"{stage.address}: its code changed ({_some(change.files)}) and makes other bytes of {_some(products)} now."
        f" redo={stage.name} takes the new ones; a higher version= of this stage in the code keeps both."
    )


def _lines(changes: Sequence[Change]) -> list[str]:
    """One for each name, set of files and reason."""
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
