"""The contents of a store and its results, in a form that compares with an undisturbed run.

Read from the files alone, so that it survives changes of the product: a stage directory is one with a stage.json or a
record.json; its product is the folder that the record names (`out`), or `out`; a result is a folder with a manifest.
Times, prices and places differ from run to run and are left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

VARYING = (
    "seconds",
    "device_seconds",
    "usd",
    "finished_at",
    "provenance",
    "commit",
    "packages",
    "out",
    "checksum",
    "source",
    "digests",
    "generation",
    "planned",
    "side_files",
    "reused",  # what an earlier command had left
)
CORE = ("key", "request_key", "identity", "summary", "inputs", "files")  # of a record
RESULTS = ("faults", "smoke", "choir")  # names of the commands that are compared
USERS = {  # files of the user's own, which nothing may touch
    "results/notes.txt": b"what I think of it\n",
    "results/mine/figure.svg": b"<svg/>\n",
    "store/README.txt": b"this store is ours\n",
}

Product = Mapping[str, str]  # sha256 by file


@dataclass(frozen=True)
class State:
    products: Mapping[str, Product]  # of finished stages, by address
    records: Mapping[str, Mapping[str, Any] | None]  # of the same; None: cannot be read
    result: Mapping[str, str]  # the files of the newest result, the manifest without what varies
    inputs: Mapping[str, frozenset[str]] = field(default_factory=dict)  # addresses that a stage rests on, by address

    def resting_on(self, address: str) -> set[str]:
        """Every stage that has this one behind it."""
        found: set[str] = set()
        waiting = [address]
        while waiting:
            one = waiting.pop()
            new = {each for each, behind in self.inputs.items() if one in behind} - found
            found |= new
            waiting += new
        return found


def state_of(home: Path, leave_out: Collection[str] = ()) -> State:
    """Without the fields `leave_out` of records and manifests, beside those that always vary."""
    records, products, inputs = {}, {}, {}
    for directory in stage_directories(home / "store"):
        address = f"{directory.parent.name}/{directory.name}"
        inputs[address] = _inputs(directory / "stage.json")
        if (directory / "record.json").exists() or (directory / "record.json").is_symlink():
            record = json_at(directory / "record.json")
            records[address] = record
            products[address] = tree(directory / str((record or {}).get("out", "out")))
    return State(products, records, _result(home / "results", leave_out), inputs)


def stage_directories(store: Path) -> Iterator[Path]:
    for name in sorted(path for path in store.glob("*") if path.is_dir()):
        for path in sorted(name.glob("*")):
            if (path / "stage.json").exists() or (path / "record.json").exists():
                yield path


def product_folder(directory: Path) -> Path:
    return directory / str((json_at(directory / "record.json") or {}).get("out", "out"))


def json_at(path: Path) -> dict[str, Any] | None:
    """None: no JSON object there."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def tree(folder: Path) -> dict[str, str]:
    """sha256 by relative path; what is no file is named as what it is."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.is_dir() and not any(path.iterdir()):
            found[name] = "an empty folder"
    return found


def result_folder(results: Path) -> Path | None:
    """The newest result of ours: where the link `latest` leads, or else the one that was published last."""
    for folder in (results / name for name in RESULTS):
        if (folder / "manifest.json").exists():
            return folder
        latest = folder / "latest"
        if latest.is_symlink() and (latest / "manifest.json").exists():
            return latest.resolve()
        published = [path for path in folder.glob("*/manifest.json") if path.parent.name != latest.name]
        if published:
            return max(published, key=lambda path: path.stat().st_mtime_ns).parent
    return None


def _result(results: Path, leave_out: Collection[str]) -> dict[str, str]:
    folder = result_folder(results)
    if folder is None:
        return {}
    manifest = json_at(folder / "manifest.json") or {}
    files = {name: each for name, each in tree(folder).items() if name not in manifest.get("side_files", ())}
    return {**files, "manifest.json": json.dumps(steady(manifest, (*VARYING, *leave_out)), sort_keys=True)}


def steady(value: Any, varying: Collection[str]) -> Any:
    """JSON without what differs from run to run."""
    if isinstance(value, dict):
        return {name: steady(each, varying) for name, each in value.items() if name not in varying}
    return [steady(each, varying) for each in value] if isinstance(value, list) else value


def core(record: Mapping[str, Any] | None, leave_out: Collection[str]) -> dict[str, Any] | None:
    """What two records of one product agree in."""
    return None if record is None else {name: record.get(name) for name in CORE if name not in leave_out}


def _inputs(stage_file: Path) -> frozenset[str]:
    described = json_at(stage_file) or {}
    places = [place for places in described.get("inputs", {}).values() for place in places]
    return frozenset(place["stage"] for place in [*places, *described.get("shards", [])] if "stage" in place)


def plant_users_files(home: Path) -> None:
    for name, content in USERS.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(content)


def lost_users_files(home: Path) -> list[str]:
    return [name for name, content in USERS.items() if not _holds(home / name, content)]


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content
