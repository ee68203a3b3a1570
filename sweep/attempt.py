"""An attempt at a stage: a directory of its own, published by one create-if-absent of the record, which names it.

    begin      clear what dead attempts left, make out-<token>/
    publish    hash and flush out-<token>/, write record-<token>.json, create record.json: the first one counts
    restore    a record that was lost or damaged, from record-<token>.json, where that product is whole
    move_to    set a finished product aside, the record first

No step needs a lock to be safe: of two attempts that end together one is published whole, and the other removes itself.
record-<token>.json is a file of its own, so what damages record.json spares it.
"""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep.checksums import file_states, inodes_of, reading
from sweep.claim import WAIT, Rule
from sweep.json_files import CHECKSUM, StoreError, create_json, read_sealed, sealed, write_json
from sweep.store import OUT, PRODUCT, StageDirectory

OF_BEFORE = "out.partial"  # where attempts wrote before each had a directory of its own
DESCRIBED = "described"  # the field of a second copy that holds stage.json
TOKEN_BYTES = 4


@dataclass(frozen=True)
class Attempt:
    """One process's own product of a stage, until it is published or found to be late."""

    directory: StageDirectory
    token: str

    @property
    def out(self) -> Path:
        """Where the stage function writes."""
        return self.directory.path / f"{OUT}-{self.token}"

    @property
    def receipt_file(self) -> Path:
        """A second copy of the record, with what stage.json says."""
        return self.directory.path / f"record-{self.token}.json"

    def publish(self, record: Mapping[str, Any]) -> bool:
        """Make the product visible at once and for good; False if another attempt was first, and this one is gone."""
        files = file_states(self.out)
        _flush_tree(self.out)
        whole = {**record, "out": self.out.name, "files": files}
        write_json(self.receipt_file, sealed({**whole, DESCRIBED: self.directory.read_stage()}))
        if not create_json(self.directory.record_file, sealed(whole)):
            self.remove()
            return False
        _flush(self.directory.path)
        point_to(self.directory, self.out)
        with suppress(OSError):  # planning hashes what it has not seen
            write_json(self.directory.hashed_file, inodes_of(self.out, list(files)), durable=False)
        self.directory.progress_file.unlink(missing_ok=True)
        shutil.rmtree(self.directory.scratch, ignore_errors=True)
        return True

    def remove(self) -> None:
        """Its receipt first, so that nothing vouches for half a product."""
        self.receipt_file.unlink(missing_ok=True)
        shutil.rmtree(self.out, ignore_errors=True)


def begin(directory: StageDirectory) -> Attempt:
    """A new attempt, by whoever holds the stage; clears what earlier ones left, but for the scratch directory."""
    reported = (directory.failed_file, directory.interrupted_file, directory.progress_file)
    for file in (*reported, *directory.path.glob("group-*")):
        file.unlink(missing_ok=True)
    _finish_moves(directory)
    for receipt in directory.path.glob("record-*.json"):
        receipt.unlink(missing_ok=True)
    for leftover in (*directory.path.glob(f"{OUT}-*"), directory.path / OF_BEFORE, directory.path / OUT):
        _remove(leftover)
    attempt = Attempt(directory, secrets.token_hex(TOKEN_BYTES))
    attempt.out.mkdir(parents=True)
    directory.scratch.mkdir(exist_ok=True)
    return attempt


# ------------------------------------------------------------------------------------------- lost and damaged records


def restorable(directory: StageDirectory) -> dict[str, Any] | None:
    """The record that a stage has lost, where its second copy and the product are whole; None: nothing is lost or left.

    Also that of an attempt whose process died between the two writes of its record.
    """
    if not directory.path.is_dir() or _is_readable(directory):
        return None
    found = [copy for copy in _copies(directory) if _is_whole(directory, copy)]
    return sealed(_without_description(found[0])) if len(found) == 1 else None


def restore(directory: StageDirectory) -> bool:
    """Write a lost or damaged record anew from its second copy; whether there is one now that was not."""
    record = restorable(directory)
    if record is None:
        return False
    if directory.record_file.is_dir():
        shutil.rmtree(directory.record_file)
    write_json(directory.record_file, record)
    point_to(directory, directory.out)
    restore_description(directory)
    return True


def restore_description(directory: StageDirectory) -> bool:
    """Write stage.json anew from the second copy of the record, if it says something else; whether it does now."""
    for copy in _copies(directory):
        if copy.get("out") == directory.out.name and isinstance(copy.get(DESCRIBED), dict):
            write_json(directory.stage_file, copy[DESCRIBED])
            return True
    return False


def renew_copy(directory: StageDirectory) -> bool:
    """Write the second copy anew where it cannot be read and record and stage.json can; whether that was needed."""
    if not copy_faults(directory):
        return False
    record, out = directory.read_record(), directory.out.name
    attempt = Attempt(directory, out.removeprefix(f"{OUT}-"))
    write_json(attempt.receipt_file, sealed({**record, DESCRIBED: directory.read_stage()}))
    return True


def copy_faults(directory: StageDirectory) -> list[str]:
    """Whether the second copy of a sound record is lost or damaged; none for records of before there were copies."""
    try:
        record = directory.read_record()
        name = Attempt(directory, str(record.get("out", OUT)).removeprefix(f"{OUT}-")).receipt_file.name
        is_there = any(copy.get("out") == record.get("out") for copy in _copies(directory))
    except (StoreError, OSError):
        return []
    return [] if is_there or "out" not in record else [f"{name}: missing or damaged"]


def records(directory: StageDirectory) -> Iterator[Mapping[str, Any]]:
    """The record of a stage and its second copies, as far as they can be read."""
    with suppress(StoreError, OSError):
        yield directory.read_record()
    yield from _copies(directory)


def _copies(directory: StageDirectory) -> Iterator[dict[str, Any]]:
    for path in sorted(directory.path.glob("record-*.json")):
        with suppress(StoreError, OSError):
            yield read_sealed(path)


def _without_description(copy: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in copy.items() if name not in (DESCRIBED, CHECKSUM)}


def _is_readable(directory: StageDirectory) -> bool:
    try:
        directory.read_record()
    except (StoreError, OSError):
        return False
    return True


def _is_whole(directory: StageDirectory, copy: Mapping[str, Any]) -> bool:
    """Its product is there as it was published, and was not set aside to be made anew."""
    name = str(copy.get("out"))
    if copy.get("generation") != directory.generation or not PRODUCT.fullmatch(name):
        return False
    try:
        return not reading(directory.path / name, copy["files"])
    except OSError:
        return False


# -------------------------------------------------------------------------------------------------------- set aside


def set_aside(directory: StageDirectory, faults: Callable[[StageDirectory], list[str]], rule: Rule = WAIT) -> None:
    """Move what has faults to damaged-<n>/, so that the stage is made again."""
    with directory.locked(rule):
        if faults(directory):  # otherwise another process set it aside, and made it again
            move_to(directory, "damaged")


def move_to(directory: StageDirectory, name: str) -> None:
    """Move a finished product and its records to <name>-<n>/; nothing if another process moved it before.

    The second copy goes first: what is moved on purpose is not restored. Logs and scratch stay, others may use them.
    """
    out = _out_of(directory)
    aside = _new_folder(directory.path, name)
    for receipt in directory.path.glob("record-*.json"):
        _rename(receipt, aside)
    if not _rename(directory.record_file, aside):
        with suppress(OSError):  # not empty
            aside.rmdir()
        return
    with suppress(OSError):
        shutil.copyfile(directory.stage_file, aside / directory.stage_file.name)
    directory.hashed_file.unlink(missing_ok=True)
    for path in (directory.path / OUT, *out, directory.same_code_file):
        _rename(path, aside)


def _finish_moves(directory: StageDirectory) -> None:
    """Of a process that died between moving the record of a product and the product."""
    for record in directory.path.glob("*-*/record.json"):
        with suppress(StoreError, OSError):
            _rename(directory.path / StageDirectory(record.parent).out.name, record.parent)


def _out_of(directory: StageDirectory) -> Iterator[Path]:
    """The product's directory; of a record that cannot be read, every directory that may be it."""
    try:
        return iter([directory.out])
    except (StoreError, OSError):
        return iter(sorted(directory.path.glob(f"{OUT}-*")))


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
    """Let the link `out` lead to the product that counts; for people, the record decides."""
    link, aside = directory.path / OUT, directory.path / f".{OUT}.{secrets.token_hex(TOKEN_BYTES)}"
    with suppress(OSError):  # a file system without links
        if link.is_dir() and not link.is_symlink():
            return
        aside.symlink_to(out.name)
        aside.replace(link)


def forget_hashes(directory: StageDirectory) -> None:
    """Let the next plan hash every byte: a worker found other ones, though no file looks touched."""
    with suppress(OSError):
        directory.hashed_file.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


def _flush_tree(directory: Path) -> None:
    """Bring a product to the disk, so that a record never outlives what it vouches for."""
    for path in sorted(directory.rglob("*")):
        _flush(path)
    _flush(directory)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
