"""The kinds of files in a store, and the damage a disk can do to each.

A kind is a path with the keys, tokens and numbers taken out: `answers/out/answers.jsonl`, `answers/record.json`,
`shared/lines/lines.txt`, `results/table.csv`. Of each kind the first file in the order of names is damaged.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.faults.state import RESULTS, USERS, json_at, result_folder, state_of

KEY = re.compile(r"(?<=/)[0-9a-f]{12}(?=/|\.json$|$)")
TOKEN = re.compile(r"(?<=[-.])[0-9a-z]*[0-9][0-9a-z-]*(?=[./]|$)")
ATTEMPT = re.compile(r"(?:(?<=^out-)|(?<=^record-))(?:[A-Za-z0-9_-]+-\d+-)?[0-9a-f]{8}(?=\.json$|$)")
REPLACED = re.compile(r"(?<=^replaced-)(\w+)-[0-9a-f]{12}-.*(?=\.json$)")  # a stage that was made again
WORKER = re.compile(r"^[A-Za-z0-9_]+-\d+-[0-9a-f]{6}(?=\.json$)")  # what a worker has spent


def kinds_of(home: Path) -> dict[str, Path]:
    """One file for each kind, by kind."""
    found: dict[str, Path] = {}
    for path in sorted(home.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        relative = path.relative_to(home).as_posix()
        if relative in USERS:
            continue
        found.setdefault(kind_of(home, path), path)
    return found


def kind_of(home: Path, path: Path) -> str:
    relative = path.relative_to(home).as_posix()
    result = result_folder(home / "results")
    if result is not None and path.is_relative_to(result):
        return f"results/{path.relative_to(result).as_posix()}"
    parts = relative.removeprefix("store/").split("/")
    if parts[0] == "shared" or len(parts) < 3 or not re.fullmatch(r"[0-9a-f]{12}", parts[1]):
        return TOKEN.sub("N", KEY.sub("K", relative.removeprefix("store/")))
    record = json_at(home / "store" / parts[0] / parts[1] / "record.json") or {}
    inner = ["out" if part == record.get("out") else TOKEN.sub("T", part) for part in parts[2:3]]
    return "/".join([parts[0], *inner, *map(_without_tokens, parts[3:])])


def _without_tokens(name: str) -> str:
    return WORKER.sub("T", REPLACED.sub(r"\1-T", ATTEMPT.sub("T", name)))


def stage_of(home: Path, path: Path) -> str | None:
    """The address of the stage whose directory a file is in."""
    parts = path.relative_to(home).parts
    if parts[0] != "store" or len(parts) < 4 or parts[1] == "shared" or not re.fullmatch(r"[0-9a-f]{12}", parts[2]):
        return None
    return f"{parts[1]}/{parts[2]}"


def remove_resting(home: Path, path: Path) -> list[str]:
    """Remove every stage that rests on the one of this file, and the results; returns their addresses."""
    address = stage_of(home, path)
    state = state_of(home)
    if address is None:
        name = "answers" if path.is_relative_to(home / "store" / "shared") else "report"
        resting = {each for each in state.inputs if each.startswith(f"{name}/")}
        resting |= {behind for each in set(resting) for behind in state.resting_on(each)}
    else:
        resting = state.resting_on(address)
    for each in resting:
        shutil.rmtree(home / "store" / each)
    for name in RESULTS:
        shutil.rmtree(home / "results" / name, ignore_errors=True)
    return sorted(resting)


# ------------------------------------------------------------------------------------------------------ the damages


def _flip(where: float) -> Callable[[Path], None]:
    """One bit of one byte; size and time of the file stay what they were."""

    def flip(path: Path) -> None:
        state = path.stat()
        at = int(where * max(state.st_size - 1, 0))
        with path.open("r+b") as file:
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ 1]))
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))

    return flip


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "in the way").touch()


def _other_digit(path: Path) -> None:
    """A digit becomes another, so that text stays well-formed."""
    state, content = path.stat(), bytearray(path.read_bytes())
    digits = [at for at, byte in enumerate(content) if 48 <= byte <= 57]
    if digits:
        at = digits[len(digits) // 2]
        content[at] = 48 + (content[at] - 48 + 1) % 10
        path.write_bytes(bytes(content))
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


DAMAGES: Mapping[str, Callable[[Path], None]] = {
    "first": _flip(0.0),
    "middle": _flip(0.5),
    "last": _flip(1.0),
    "digit": _other_digit,
    "half": _cut,
    "empty": lambda path: os.truncate(path, 0),
    "removed": Path.unlink,
    "folder": _become_folder,
}
KIND_OF_DAMAGE = {
    "first": "flip",
    "middle": "flip",
    "last": "flip",
    "digit": "flip",
    "half": "truncate",
    "empty": "empty",
    "removed": "remove",
    "folder": "replace",
}


def can_be(path: Path, how: str) -> bool:
    """A link can be removed or replaced; an empty file has no byte to flip."""
    if path.is_symlink():
        return how in ("removed", "folder")
    return path.stat().st_size > 0 or how in ("removed", "folder")


def explains_remaking(kind: str) -> bool:
    """Whether a stage may be made again because a file of this kind was damaged."""
    return owes_a_word(kind) or kind.rpartition("/")[2] == "stage.json"


def owes_a_word(kind: str) -> bool:
    """Whether the product must say that a file of this kind was damaged: products, and what vouches for them."""
    name = kind.rpartition("/")[2]
    return ("/out/" in kind or name == "record.json") and not kind.startswith("results/")
