"""Training checkpoints: training resumes only from a complete, unchanged one.

<scratch>/checkpoint-<step>/                      in the trainer's layout; exists once all of it is on disk
<scratch>/checkpoint-<step>/complete              the mark: the attempt that saved it, its inputs, each file's sha256
<scratch>/saving-<attempt>/checkpoint-<step>/     being written by a running attempt
<scratch>/damaged-checkpoint-<step>/              set aside at a resume, kept until the stage is done

Each attempt writes to its own folder, hashes the files and renames the checkpoint into place, so two attempts that a
lock failed to keep apart never mix their bytes in one checkpoint. Only then are older ones removed. The trainer writes
the files while training waits; hashing, flushing to disk and renaming go on beside training (Publisher). Writing them
beside it too (torch.distributed.checkpoint.async_save) would need our own saving and loading of sharded optimizer
state, in place of accelerate's, and a copy of all of it in host memory. A run's last step saves no checkpoint: its
weights are published.

A resume hashes the newest checkpoint again; if it does not match its mark, it is set aside with a warning and the next
older one is checked.

Earlier versions wrote a mark without hashes, {file: bytes}: such a checkpoint is accepted with a warning if all sizes
match and its JSON files can be parsed.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from sweep.hashing import each_hashed, sha256_of

log = logging.getLogger(__name__)

MARK = "complete"
NAME = re.compile(r"checkpoint-(\d+)")
SAVING = "saving-"
DAMAGED = "damaged-"

Digests: TypeAlias = "Mapping[str, Sequence[str]]"  # a stage's input digests, by role


@dataclass(frozen=True)
class Resume:
    """Where training resumes."""

    checkpoint: Path | None  # None: start from scratch
    rejected: int  # checkpoints of this stage that were set aside, now or at an earlier resume

    @property
    def step(self) -> int:
        return checkpoint_step(self.checkpoint) if self.checkpoint else 0


def checkpoint_step(checkpoint: Path) -> int:
    """The step after which the checkpoint was saved."""
    return int(checkpoint.name.rpartition("-")[2])


# ------------------------------------------------------------------------------------------------------- saving


def saving_folder(scratch: Path) -> Path:
    """The folder this attempt writes to: shared by all processes of a group, unique to each of its starts."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        attempt = f"group-{os.environ['TORCHELASTIC_RUN_ID']}-{os.environ['MASTER_PORT']}"
    else:
        attempt = f"{socket.gethostname()}-{os.getpid()}"
    return scratch / f"{SAVING}{re.sub(r'[^A-Za-z0-9_.-]', '_', attempt)}"


def publish_checkpoint(saved: Path, inputs: Digests, save_total: int) -> None:
    """Mark a checkpoint that all processes have written and move it into place; call from one process only.

    Then keeps the newest `save_total` checkpoints.
    """
    scratch, place = saved.parents[1], saved.parents[1] / saved.name
    mark_complete(saved, inputs)
    try:
        saved.rename(place)
    except OSError:
        if not os.path.lexists(place):
            raise
        log.warning("%s: another attempt at this stage has already saved it; its checkpoint is kept.", place)
        shutil.rmtree(saved)
    _sync(scratch)
    for old in _by_step(scratch)[save_total:]:
        with suppress(FileNotFoundError):  # another attempt may remove it too
            shutil.rmtree(old.rename(saved.parent / f"old-{old.name}"))


@dataclass
class Publisher:
    """Publishes checkpoints in a thread beside training, one at a time; for the first process of a group."""

    inputs: Digests
    save_total: int
    _threads: ThreadPoolExecutor = field(default_factory=partial(ThreadPoolExecutor, 1, "checkpoint"))
    _running: Future[None] | None = None

    def publish(self, saved: Path) -> None:
        """Begin to publish a checkpoint whose files are written."""
        self.wait()
        self._running = self._threads.submit(publish_checkpoint, saved, self.inputs, self.save_total)

    def wait(self) -> None:
        """Wait until the last checkpoint is in place. Raises its error, such as OSError for a full disk."""
        if self._running is not None:
            running, self._running = self._running, None
            running.result()


def mark_complete(checkpoint: Path, inputs: Digests | None = None) -> None:
    """Hash and fsync all files, then write the mark."""
    files = _files(checkpoint)
    hashes = each_hashed(files.values(), _synced_sha256)
    states = {name: {"bytes": path.stat().st_size, "sha256": hashes[path]} for name, path in files.items()}
    if _files(checkpoint) != files:
        raise RuntimeError(f"{checkpoint}: its files changed while they were hashed. Stop all other writers.")
    mark = {"attempt": checkpoint.parent.name.removeprefix(SAVING), "inputs": _plain(inputs or {}), "files": states}
    aside = checkpoint / f".{MARK}"
    aside.write_text(json.dumps(mark), encoding="utf-8")
    _sync(aside)
    aside.replace(checkpoint / MARK)
    _sync(checkpoint)


def remove_unfinished(scratch: Path) -> None:
    """Remove the folders of attempts that have ended; call from one process only, before any of its group saves.

    The stage lock implies that other attempts have ended. In case locks do not work, keep folders of live processes on
    this host.
    """
    for folder in scratch.glob(f"{SAVING}*"):
        if folder == saving_folder(scratch) or not _writer_is_alive(folder):
            shutil.rmtree(folder)


# ------------------------------------------------------------------------------------------------------ resuming


def newest_intact(scratch: Path, inputs: Digests | None = None) -> Resume:
    """The newest intact checkpoint; newer, damaged ones are set aside. Call from one process only."""
    found = None
    for checkpoint in _by_step(scratch):
        fault = checkpoint_fault(checkpoint, inputs or {})
        if fault is None:
            found = checkpoint
            break
        _set_aside(checkpoint, fault)
    return Resume(found, len(list(scratch.glob(f"{DAMAGED}*"))))


def checkpoint_fault(checkpoint: Path, inputs: Digests) -> str | None:
    """Why a checkpoint cannot be resumed; None if it is byte for byte what was saved."""
    try:
        mark = json.loads((checkpoint / MARK).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return f"{MARK}: missing"
    except (OSError, ValueError) as error:
        return f"{MARK}: cannot be read ({error})"
    try:
        return _fault(checkpoint, mark, inputs)
    except OSError as error:
        return f"{error.filename}: {error.strerror}"


def _fault(checkpoint: Path, mark: Any, inputs: Digests) -> str | None:
    files = _files(checkpoint)
    match mark:
        case {"files": dict(states), "inputs": dict(trained_on)} if states:
            fault = _different_files(files, {name: _field(state, "bytes") for name, state in states.items()})
            return fault or _different_bytes(files, states) or _different_inputs(trained_on, _plain(inputs))
        case dict() if mark and all(type(size) is int for size in mark.values()):
            fault = _different_files(files, mark) or _unreadable_json(files)
            if fault is None:
                log.warning(
                    "%s: saved by an earlier version, without checksums. Only file sizes were compared.", checkpoint
                )
            return fault
        case _:
            return f"{MARK}: it has no list of files"


def _different_files(files: Mapping[str, Path], sizes: Mapping[str, Any]) -> str | None:
    for name in sorted({*files, *sizes}):
        if name not in files:
            return f"{name}: missing"
        if name not in sizes:
            return f"{name}: not part of the saved checkpoint"
        path = files[name]
        if path.is_symlink() or not path.is_file():
            return f"{name}: not a regular file"
        if path.stat().st_size != sizes[name]:
            return f"{name}: {path.stat().st_size} bytes instead of {sizes[name]}"
    return None


def _different_bytes(files: Mapping[str, Path], states: Mapping[str, Any]) -> str | None:
    hashes = each_hashed(files.values())
    others = [name for name, path in files.items() if hashes[path] != _field(states[name], "sha256")]
    return f"{others[0]}: content differs from what was saved" if others else None


def _different_inputs(trained_on: Mapping[str, Any], inputs: Mapping[str, Any]) -> str | None:
    """Detect a base model or rows that changed since the checkpoint was saved."""
    others = [role for role in trained_on if role in inputs and trained_on[role] != inputs[role]]
    if not others:
        return None
    role = others[0]
    return f"trained on {role} {' '.join(map(str, trained_on[role]))}, but {role} is now {' '.join(inputs[role])}"


def _unreadable_json(files: Mapping[str, Path]) -> str | None:
    for name, path in files.items():
        if path.suffix == ".json":
            try:
                json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                return f"{name}: not JSON ({error})"
    return None


def _set_aside(checkpoint: Path, fault: str) -> None:
    numbers = ["", *(f"-{number}" for number in range(2, 1000))]
    places = (checkpoint.with_name(f"{DAMAGED}{checkpoint.name}{number}") for number in numbers)
    place = next(place for place in places if not os.path.lexists(place))
    checkpoint.rename(place)
    log.warning("%s: %s. It is set aside as %s; training does not resume from it.", checkpoint, fault, place.name)


def _by_step(scratch: Path) -> list[Path]:
    """All checkpoints, newest first."""
    named = [path for path in scratch.glob("checkpoint-*") if NAME.fullmatch(path.name)]
    return sorted(named, key=checkpoint_step, reverse=True)


def _files(checkpoint: Path) -> dict[str, Path]:
    """All files except the mark, by relative path."""
    paths = {path.relative_to(checkpoint).as_posix(): path for path in sorted(checkpoint.rglob("*"))}
    return {
        name: path
        for name, path in paths.items()
        if name not in (MARK, f".{MARK}") and (path.is_symlink() or not path.is_dir())
    }


def _field(state: Any, name: str) -> Any:
    return state.get(name) if isinstance(state, dict) else None


def _plain(inputs: Digests) -> dict[str, list[str]]:
    return {role: list(digests) for role, digests in inputs.items()}


def _synced_sha256(path: Path) -> str:
    """Fsync and hash a file: it must be on disk before the mark, since the mark lets older checkpoints be removed."""
    _sync(path)
    return sha256_of(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _writer_is_alive(folder: Path) -> bool:
    """Whether the process that the folder is named after is running on this host."""
    host, _, process = folder.name.removeprefix(SAVING).rpartition("-")
    if host != socket.gethostname() or not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
