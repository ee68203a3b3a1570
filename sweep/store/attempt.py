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
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from sweep.claims.claim import WAIT, Rule
from sweep.json_files import CHECKSUM, StoreError, create_json, put_folder_aside, read_sealed, sealed, write_json
from sweep.plain_values import is_table
from sweep.store.checksums import changed_files_by_hash, changed_files_by_stat, file_states, inodes_of
from sweep.store.directory import OUT, PRODUCT, StageDirectory
from sweep.store.documents import ReceiptJson, RecordJson
from sweep.store.temporary import owner_has_ended, remove, token

OF_BEFORE = "out.partial"  # where attempts wrote before each had a directory of its own
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

    def publish(self, record: RecordJson) -> bool:
        """Make the product visible at once and for good; False if another attempt was first, and this one is gone.

        Raises StoreError if somebody removed what was written.
        """
        files = file_states(self.out)
        _flush_tree(self.out)
        whole: RecordJson = {**record, "out": self.out.name, "files": files}
        write_json(self.receipt_file, sealed({**whole, "described": self.directory.read_stage()}))
        if not self.out.is_dir() or changed_files_by_stat(self.out, files):
            raise StoreError(f"{self.out}: removed while it was made. Run the sweep again.")
        if not create_json(self.directory.record_file, sealed(whole)) and not self._is_published():
            return False
        _flush(self.directory.path)
        point_to(self.directory, self.out)
        with suppress(OSError):  # planning hashes what it has not seen
            write_json(self.directory.hashed_file, inodes_of(self.out, list(files)), durable=False)
        self.directory.progress_file.unlink(missing_ok=True)
        shutil.rmtree(self.directory.scratch, ignore_errors=True)
        return True

    def _is_published(self) -> bool:
        """Whether the record that is there names this attempt, restored from its receipt; removes one that is late."""
        try:
            is_late = self.directory.out != self.out
        except (StoreError, OSError):  # a damaged record may be restored as this one
            return False
        if is_late:  # its receipt first, so that nothing vouches for half a product
            self.receipt_file.unlink(missing_ok=True)
            shutil.rmtree(self.out, ignore_errors=True)
        return not is_late


def begin(directory: StageDirectory) -> Attempt:
    """A new attempt, by whoever holds the stage; clears what earlier ones left, but for the scratch directory.

    An attempt whose process lives is left alone: where locks do not lock, it may be at work.
    """
    reported = (directory.failed_file, directory.interrupted_file, directory.progress_file)
    for file in (*reported, *directory.path.glob("group-*")):
        put_folder_aside(file)
        file.unlink(missing_ok=True)
    _finish_moves(directory)
    if published_before(directory) is not None:  # whoever removed its record did not mean the product
        move_to(directory, "damaged")
    for leftover in directory.path.glob(f"{OUT}-*"):
        if owner_has_ended(leftover, _token_of(leftover)):
            remove(leftover)
    for receipt in directory.path.glob("record-*.json"):
        if owner_has_ended(receipt, receipt.stem.removeprefix("record-")):
            receipt.unlink(missing_ok=True)
    for leftover in (directory.path / OF_BEFORE, directory.path / OUT):
        remove(leftover)
    attempt = Attempt(directory, token())
    attempt.out.mkdir(parents=True)
    directory.scratch.mkdir(exist_ok=True)
    return attempt


# ------------------------------------------------------------------------------------------- lost and damaged records


def restorable(directory: StageDirectory) -> RecordJson | None:
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
    write_json(directory.record_file, record)
    point_to(directory, directory.out)
    restore_description(directory)
    return True


def restore_description(directory: StageDirectory) -> bool:
    """Write stage.json anew from the second copy of the record, if it says something else; whether it does now."""
    for copy in _copies(directory):
        described = copy.get("described")
        if copy.get("out") == directory.out.name and is_table(described):
            write_json(directory.stage_file, described)
            return True
    return False


def renew_copy(directory: StageDirectory) -> bool:
    """Write the second copy anew where it cannot be read and record and stage.json can; whether that was needed."""
    if not copy_faults(directory):
        return False
    record, out = directory.read_record(), directory.out.name
    attempt = Attempt(directory, out.removeprefix(f"{OUT}-"))
    write_json(attempt.receipt_file, sealed({**record, "described": directory.read_stage()}))
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


def records(directory: StageDirectory) -> Iterator[RecordJson]:
    """The record of a stage and its second copies, as far as they can be read."""
    with suppress(StoreError, OSError):
        yield directory.read_record()
    yield from _copies(directory)


def _copies(directory: StageDirectory) -> Iterator[ReceiptJson]:
    for path in sorted(directory.path.glob("record-*.json")):
        with suppress(StoreError, OSError):
            yield cast(ReceiptJson, read_sealed(path))  # its checksum says that it is what a worker wrote


def _without_description(copy: ReceiptJson) -> RecordJson:
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


def _is_whole(directory: StageDirectory, copy: ReceiptJson) -> bool:
    """Its product is there as it was published, and was not set aside to be made anew."""
    name = str(copy.get("out"))
    files = copy.get("files")
    if files is None or copy.get("generation") != directory.generation or not PRODUCT.fullmatch(name):
        return False
    try:
        return not changed_files_by_hash(directory.path / name, files)
    except OSError:
        return False


def published_before(directory: StageDirectory) -> Path | None:
    """The product of a stage whose record is missing, where it was published once; None: there is none.

    The link to it is made, and a second copy of the record names it, when an attempt has come to its end.
    """
    if directory.is_done or not directory.path.is_dir():
        return None
    link = directory.path / OUT
    named = [str(copy.get("out")) for copy in _copies(directory) if copy.get("generation") == directory.generation]
    found = [link.resolve().name if link.is_symlink() else OUT, *named]
    moved = {each.name for each in _moved(directory)}
    places = (directory.path / name for name in found if PRODUCT.fullmatch(name) and name not in moved)
    return next((place for place in places if place.is_dir() and owner_has_ended(place, _token_of(place))), None)


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
    out, without_record = list(_out_of(directory)), published_before(directory)
    aside = _new_folder(directory.path, name)
    for receipt in directory.path.glob("record-*.json"):
        _rename(receipt, aside)
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
    """Of a process that died between moving the record of a product and the product."""
    for product in _moved(directory):
        _rename(directory.path / product.name, product.parent)


def _moved(directory: StageDirectory) -> Iterator[Path]:
    """Where the products lie, or are to lie, whose records were set aside."""
    for record in directory.path.glob("*-*/record.json"):
        with suppress(StoreError, OSError):
            yield StageDirectory(record.parent).out


def _token_of(out: Path) -> str:
    return out.name.removeprefix(f"{OUT}-")


def _out_of(directory: StageDirectory) -> Iterator[Path]:
    """The product's directory; of a record that cannot be read, every directory that may be it."""
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


def _flush_tree(directory: Path) -> None:
    """Bring a product to the disk, so that a record never outlives what it vouches for.

    Whoever may read its directory may read its files: some libraries write theirs for their owner alone.
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
