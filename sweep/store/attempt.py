"""Attempts at a stage: each writes into a separate directory and is published by creating the record that names it.

    begin      remove leftovers of dead attempts, create out-<token>/
    record_of  what record.json says of a finished stage
    publish    hash and flush out-<token>/, write record-<token>.json, create record.json; the first attempt wins
    restore    recreate a lost or damaged record from record-<token>.json if that artifact is intact
    move_to    set a finished artifact aside, the record first

No step needs a lock: if two attempts end at the same time, one is published completely and the other removes itself.
record-<token>.json is a separate file, so damage to record.json does not affect it.

record.json    key, request_key, generation, identity, summary, seconds, usd, shards, inputs: digests by address,
               source: {roots, files: digests by file} of the code, finished_at, provenance; once published, files
"""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from sweep.claims.claim import WAIT, Rule
from sweep.core.identity import Json
from sweep.core.provenance import Provenance
from sweep.core.stage import Finished
from sweep.json_files import CHECKSUM, StoreError, create_json, put_folder_aside, read_sealed, sealed, write_json
from sweep.plain_values import is_table
from sweep.store.checksums import changed_files_by_hash, changed_files_by_stat, file_states, inodes_of
from sweep.store.directory import ARTIFACT_NAME, OUT, StageDirectory
from sweep.store.documents import RecordCopyJson, RecordJson, SourceJson, StageJson
from sweep.store.status_files import now
from sweep.store.temporary import owner_has_ended, remove, token

LEGACY_OUT = "out.partial"  # attempt directory of earlier versions
TOKEN_BYTES = 4


@dataclass(frozen=True)
class Attempt:
    """The unpublished artifact of one process."""

    directory: StageDirectory
    token: str

    @property
    def out(self) -> Path:
        """Where the stage function writes."""
        return self.directory.path / f"{OUT}-{self.token}"

    @property
    def record_copy_file(self) -> Path:
        """Second copy of the record, which includes stage.json."""
        return self.directory.path / f"record-{self.token}.json"

    def publish(self, record: RecordJson) -> bool:
        """Publish the artifact atomically. If another attempt was first, remove this one and return False.

        Raises StoreError if the written files were removed.
        """
        files = file_states(self.out)
        _flush_tree(self.out)
        complete: RecordJson = {**record, "out": self.out.name, "files": files}
        write_json(self.record_copy_file, sealed({**complete, "described": self.directory.read_stage()}))
        if not self.out.is_dir() or changed_files_by_stat(self.out, files):
            raise StoreError(f"{self.out}: removed or changed during publishing. Run the sweep again.")
        if not create_json(self.directory.record_file, sealed(complete)) and not self._is_published():
            return False
        _flush(self.directory.path)
        point_to(self.directory, self.out)
        with suppress(OSError):  # without it, the next plan hashes the files
            write_json(self.directory.hashed_file, inodes_of(self.out, list(files)), durable=False)
        self.directory.progress_file.unlink(missing_ok=True)
        shutil.rmtree(self.directory.scratch, ignore_errors=True)
        return True

    def _is_published(self) -> bool:
        """Whether the existing record names this attempt (it may have been restored); removes a late attempt."""
        try:
            is_late = self.directory.out != self.out
        except (StoreError, OSError):  # a damaged record may be restored as this one
            return False
        if is_late:  # its record copy first, so that none refers to half an artifact
            self.record_copy_file.unlink(missing_ok=True)
            shutil.rmtree(self.out, ignore_errors=True)
        return not is_late


def begin(directory: StageDirectory) -> Attempt:
    """Start an attempt; the caller holds the stage. Removes leftovers of earlier attempts, except scratch.

    Keeps attempts of live processes, which may still be writing where file locks do not work.
    """
    reported = (directory.failed_file, directory.interrupted_file, directory.progress_file)
    for file in (*reported, *directory.path.glob("group-*")):
        put_folder_aside(file)
        file.unlink(missing_ok=True)
    _finish_moves(directory)
    if published_before(directory) is not None:  # only its record was removed
        move_to(directory, "damaged")
    for leftover in directory.path.glob(f"{OUT}-*"):
        if owner_has_ended(leftover, _token_of(leftover)):
            remove(leftover)
    for copy in directory.path.glob("record-*.json"):
        if owner_has_ended(copy, copy.stem.removeprefix("record-")):
            copy.unlink(missing_ok=True)
    for leftover in (directory.path / LEGACY_OUT, directory.path / OUT):
        remove(leftover)
    attempt = Attempt(directory, token())
    attempt.out.mkdir(parents=True)
    directory.scratch.mkdir(exist_ok=True)
    return attempt


@dataclass(frozen=True)
class RunOrigin:
    """Code, inputs and environment of an artifact."""

    code: SourceJson  # roots, and digests of their source by file
    inputs: Mapping[str, str]  # digests of the artifacts that were read, by address
    generation: int
    provenance: Provenance


def record_of(
    stage: StageJson,
    finished: Finished,
    seconds: float,
    shards: Sequence[RecordJson],
    origin: RunOrigin,
) -> RecordJson:
    """Content of record.json. A sharded stage costs the sum of its shards and the merge."""
    usd = seconds * _usd_per_hour(stage["settings"]) / 3600
    return {
        "key": finished.key,
        "request_key": stage.get("request_key"),
        "generation": origin.generation,
        "identity": stage["identity"],
        "summary": dict(finished.summary),
        "seconds": round(seconds + sum(each["seconds"] for each in shards), 3),
        "usd": round(usd + sum(each["usd"] for each in shards), 6),
        "shards": [each["key"] for each in shards],
        "inputs": dict(origin.inputs),
        "source": origin.code,
        "finished_at": now(),
        "provenance": origin.provenance,
    }


def _usd_per_hour(settings: Mapping[str, Json]) -> float:
    price = settings.get("usd_per_hour", 0.0)
    if not isinstance(price, int | float):
        raise StoreError(f"settings.usd_per_hour {price!r}: not a price. Run the sweep again: it rewrites stage.json.")
    return price


# ------------------------------------------------------------------------------------------- lost and damaged records


def restorable(directory: StageDirectory) -> RecordJson | None:
    """The missing or damaged record of a stage, if its second copy and the artifact are intact; otherwise None.

    Includes the record of a process that died between writing the copy and the record.
    """
    if not directory.path.is_dir() or _is_readable(directory):
        return None
    found = [copy for copy in _copies(directory) if _is_intact(directory, copy)]
    return sealed(_without_description(found[0])) if len(found) == 1 else None


def restore(directory: StageDirectory) -> bool:
    """Rewrite a lost or damaged record from its second copy; returns whether it did."""
    record = restorable(directory)
    if record is None:
        return False
    write_json(directory.record_file, record)
    point_to(directory, directory.out)
    restore_description(directory)
    return True


def restore_description(directory: StageDirectory) -> bool:
    """Rewrite stage.json from the second copy of the record; returns whether it did."""
    for copy in _copies(directory):
        described = copy.get("described")
        if copy.get("out") == directory.out.name and is_table(described):
            write_json(directory.stage_file, described)
            return True
    return False


def renew_copy(directory: StageDirectory) -> bool:
    """Rewrite an unreadable second copy from record and stage.json; returns whether it was needed."""
    if not copy_faults(directory):
        return False
    record, out = directory.read_record(), directory.out.name
    attempt = Attempt(directory, out.removeprefix(f"{OUT}-"))
    write_json(attempt.record_copy_file, sealed({**record, "described": directory.read_stage()}))
    return True


def copy_faults(directory: StageDirectory) -> list[str]:
    """Fault of a lost or damaged second copy of an intact record. Earlier versions wrote no copies."""
    try:
        record = directory.read_record()
        name = Attempt(directory, str(record.get("out", OUT)).removeprefix(f"{OUT}-")).record_copy_file.name
        is_there = any(copy.get("out") == record.get("out") for copy in _copies(directory))
    except (StoreError, OSError):
        return []
    return [] if is_there or "out" not in record else [f"{name}: missing or damaged"]


def records(directory: StageDirectory) -> Iterator[RecordJson]:
    """A stage's record and its second copies, as far as they can be read."""
    with suppress(StoreError, OSError):
        yield directory.read_record()
    yield from _copies(directory)


def _copies(directory: StageDirectory) -> Iterator[RecordCopyJson]:
    for path in sorted(directory.path.glob("record-*.json")):
        with suppress(StoreError, OSError):
            yield cast(RecordCopyJson, read_sealed(path))  # its checksum shows that a worker wrote it


def _without_description(copy: RecordCopyJson) -> RecordJson:
    record = copy.copy()
    record.pop("described", None)
    record.pop(CHECKSUM, None)
    return record


def _is_readable(directory: StageDirectory) -> bool:
    try:
        directory.read_record()
    except (StoreError, OSError):
        return False
    return True


def _is_intact(directory: StageDirectory, copy: RecordCopyJson) -> bool:
    """Whether its artifact is unchanged and was not superseded."""
    name = str(copy.get("out"))
    files = copy.get("files")
    if files is None or copy.get("generation") != directory.generation or not ARTIFACT_NAME.fullmatch(name):
        return False
    try:
        return not changed_files_by_hash(directory.path / name, files)
    except OSError:
        return False


def published_before(directory: StageDirectory) -> Path | None:
    """The published artifact of a stage without a record; None if there is none.

    The `out` link or a second copy of the record names it, both of which only a finished attempt writes.
    """
    if directory.is_done or not directory.path.is_dir():
        return None
    link = directory.path / OUT
    named = [str(copy.get("out")) for copy in _copies(directory) if copy.get("generation") == directory.generation]
    found = [link.resolve().name if link.is_symlink() else OUT, *named]
    moved = {each.name for each in _moved(directory)}
    places = (directory.path / name for name in found if ARTIFACT_NAME.fullmatch(name) and name not in moved)
    return next((place for place in places if place.is_dir() and owner_has_ended(place, _token_of(place))), None)


# -------------------------------------------------------------------------------------------------------- set aside


def set_aside(directory: StageDirectory, faults: Callable[[StageDirectory], list[str]], rule: Rule = WAIT) -> None:
    """Move an artifact with faults to damaged-<n>/, so that the stage is made again."""
    with directory.locked(rule):
        if faults(directory):  # otherwise another process has already remade it
            move_to(directory, "damaged")


def move_to(directory: StageDirectory, name: str) -> None:
    """Move a finished artifact and its records to <name>-<n>/, unless another process has moved it.

    The second copy goes first, so that the record is not restored. Logs and scratch stay, others may use them.
    """
    out, without_record = list(_out_of(directory)), published_before(directory)
    aside = _new_folder(directory.path, name)
    for copy in directory.path.glob("record-*.json"):
        _rename(copy, aside)
    if not _rename(directory.record_file, aside) and without_record is None:
        with suppress(OSError):  # not empty
            aside.rmdir()
        return
    with suppress(OSError):
        shutil.copyfile(directory.stage_file, aside / directory.stage_file.name)
    directory.hashed_file.unlink(missing_ok=True)
    for path in (directory.path / OUT, *out, directory.same_code_file):
        _rename(path, aside)


def _finish_moves(directory: StageDirectory) -> None:
    """Finish the moves of a process that died between moving a record and its artifact."""
    for artifact in _moved(directory):
        _rename(directory.path / artifact.name, artifact.parent)


def _moved(directory: StageDirectory) -> Iterator[Path]:
    """Destinations of the artifacts whose records were set aside."""
    for record in directory.path.glob("*-*/record.json"):
        with suppress(StoreError, OSError):
            yield StageDirectory(record.parent).out


def _token_of(out: Path) -> str:
    return out.name.removeprefix(f"{OUT}-")


def _out_of(directory: StageDirectory) -> Iterator[Path]:
    """The artifact directory; for an unreadable record, every directory that may be it."""
    try:
        return iter([directory.out])
    except (StoreError, OSError):
        attempts = sorted(directory.path.glob(f"{OUT}-*"))
        return iter(each for each in attempts if owner_has_ended(each, _token_of(each)))


def _new_folder(path: Path, name: str) -> Path:
    for number in itertools.count(1):
        with suppress(FileExistsError):
            folder = path / f"{name}-{number}"
            folder.mkdir()
            return folder
    raise AssertionError("unreachable")


def _rename(path: Path, folder: Path) -> bool:
    try:
        path.rename(folder / path.name)
    except FileNotFoundError:
        return False
    return True


# ---------------------------------------------------------------------------------------------------------- on disk


def point_to(directory: StageDirectory, out: Path) -> None:
    """Point the link `out` to the current artifact. It is for users; programs read the record."""
    link, temporary = directory.path / OUT, directory.path / f".{OUT}.{secrets.token_hex(TOKEN_BYTES)}"
    with suppress(OSError):  # a file system without links
        if link.is_dir() and not link.is_symlink():
            return
        temporary.symlink_to(out.name)
        temporary.replace(link)


def forget_hashes(directory: StageDirectory) -> None:
    """Make the next plan hash every byte, because content changed without a visible change of file state."""
    with suppress(OSError):
        directory.hashed_file.unlink(missing_ok=True)


def _flush_tree(directory: Path) -> None:
    """Flush an artifact to disk, so that no record exists without its files.

    Also gives the files the read permissions of the directory, because some libraries write owner-only files.
    """
    readable = directory.stat().st_mode & 0o444
    for path in sorted(directory.rglob("*")):
        if path.stat().st_mode & readable != readable:
            path.chmod(path.stat().st_mode | readable)
        _flush(path)
    _flush(directory)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
