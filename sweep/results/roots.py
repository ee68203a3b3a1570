"""Roots: the store's records of published results, wherever those are.

    store/roots/<id>.json   {path, user, host, published_at, manifest}

Publishing writes a root. `sweep store prune` keeps every stage that a root names, until `sweep store release` removes
the root. A different result at the same path gets a separate root.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sweep.accounts import account_name
from sweep.core.identity import key_of
from sweep.errors import InputError
from sweep.json_files import StoreError, read_sealed, sealed, write_json
from sweep.places import expanded
from sweep.results.result import Manifest, Result, is_valid, read_result
from sweep.store.directory import Store
from sweep.store.documents import ManifestJson
from sweep.store.status_files import now

FOLDER = "roots"


@dataclass(frozen=True)
class Root:
    """One published result."""

    id: str
    result: Result
    user: str
    host: str
    published_at: str

    @property
    def is_there(self) -> bool:
        """Whether its directory still contains this result."""
        try:
            there = read_result(self.result.path)
        except (StoreError, OSError):  # damaged or unreadable, but it exists
            return True
        return there is not None and there.manifest.digest == self.result.manifest.digest


def write_root(store: Store, path: Path, manifest: ManifestJson) -> None:
    """Write the root of a result, unless the store has it."""
    path = path.resolve()
    described = Manifest(manifest)
    file = _file(store, key_of([str(path), described.artifact, described.digest]))
    with suppress(StoreError, FileNotFoundError):  # a damaged root is rewritten
        if read_root(file).result.manifest.content == manifest:
            return
    file.parent.mkdir(exist_ok=True)
    facts = {"path": str(path), "user": account_name(), "host": platform.node(), "published_at": now()}
    write_json(file, sealed({**facts, "manifest": manifest}))


def read_root(file: Path) -> Root:
    """Read a root. Raises StoreError if it is damaged."""
    try:
        content = read_sealed(file)
        manifest = content["manifest"]
        if not is_valid(manifest):
            raise ValueError("no manifest")
        result = Result(Path(content["path"]), Manifest(manifest))
        return Root(file.stem, result, str(content["user"]), str(content["host"]), str(content["published_at"]))
    except (StoreError, OSError, KeyError, TypeError, AttributeError, ValueError):
        raise StoreError(
            f"{file}: damaged. Run the command of its result again to publish it; or remove this file to give up"
            " the stages behind the result."
        ) from None


def roots(store: Store) -> tuple[list[Root], list[str]]:
    """All roots, by result; and an error line for each unreadable one."""
    found: list[Root] = []
    faults: list[str] = []
    for file in sorted((store.root / FOLDER).glob("*.json")):
        if file.name.startswith("."):
            continue  # a temporary file
        try:
            found.append(read_root(file))
        except StoreError as error:
            faults.append(str(error))
    return sorted(found, key=lambda root: (root.result.name, root.published_at)), faults


def release(store: Store, which: str, yes: bool) -> Root:
    """Remove a root, given by ID, path or name/key. Does not touch the result or any stage.

    Raises InputError if no root matches, if several do, or if it belongs to another user and `yes` is false.
    """
    known, faults = roots(store)
    matches = [root for root in known if _matches(root, which)]
    if not matches:
        names = ", ".join(root.result.name for root in known[-5:]) or "none"
        broken = "".join(f"\n{fault}" for fault in faults)
        raise InputError(f"release {which}: no such root in {store.root}. Known: {names}.{broken}")
    if len(matches) > 1:
        ids = ", ".join(f"{root.id} ({root.result.path}, @{root.result.manifest.digest[:4]})" for root in matches)
        raise InputError(f"release {which}: matches {len(matches)} roots. Choose one by its ID: {ids}.")
    (root,) = matches
    if root.user != account_name() and not yes:
        raise InputError(f"release {which}: published by {root.user}. Ask them, or add --yes.")
    _file(store, root.id).unlink(missing_ok=True)
    return root


def _file(store: Store, id_: str) -> Path:
    return store.root / FOLDER / f"{id_}.json"


def _matches(root: Root, which: str) -> bool:
    name, _, digest = which.partition("@")
    if which == root.id or (name == root.result.name and root.result.manifest.digest.startswith(digest)):
        return True
    return any(root.result.path == path for path in _paths(which))


def _paths(which: str) -> Sequence[Path]:
    """The typed path, relative to the working directory, without and with links resolved."""
    typed = expanded("release", which)
    return [typed.absolute(), typed.resolve()]
