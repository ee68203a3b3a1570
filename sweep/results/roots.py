"""What results rest on, as the store itself remembers it, wherever the results lie.

    store/roots/<id>.json   {path, user, host, published_at, manifest}

Written whenever a result is published; `sweep store prune` keeps all that a manifest here names, until
`sweep store release` drops the root. Another result at the same path is another root.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sweep.claims.holder import user_name
from sweep.core.identity import key_of
from sweep.errors import InputError
from sweep.json_files import StoreError, read_sealed, sealed, write_json
from sweep.results.result import Manifest, Result, is_whole, read_result
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
        """Its directory is where it was published, and holds this result still."""
        try:
            there = read_result(self.result.path)
        except (StoreError, OSError):  # damaged, or not to be read from here: something is there
            return True
        return there is not None and there.manifest.digest == self.result.manifest.digest


def write_root(store: Store, path: Path, manifest: ManifestJson) -> None:
    """Keep what this result rests on; nothing if the store knows it."""
    path = path.resolve()
    described = Manifest(manifest)
    file = _file(store, key_of([str(path), described.product, described.digest]))
    with suppress(StoreError, FileNotFoundError):  # a damaged one is written again
        if read_root(file).result.manifest.content == manifest:
            return
    file.parent.mkdir(exist_ok=True)
    facts = {"path": str(path), "user": user_name(), "host": platform.node(), "published_at": now()}
    write_json(file, sealed({**facts, "manifest": manifest}))


def read_root(file: Path) -> Root:
    """Raises StoreError if it cannot be understood."""
    try:
        content = read_sealed(file)
        manifest = content["manifest"]
        if not is_whole(manifest):
            raise ValueError("no manifest")
        result = Result(Path(content["path"]), Manifest(manifest))
        return Root(file.stem, result, str(content["user"]), str(content["host"]), str(content["published_at"]))
    except (StoreError, OSError, KeyError, TypeError, AttributeError, ValueError):
        raise StoreError(
            f"{file}: damaged. Publish its result again, by the same command; or remove this file, if what the result"
            " rests on is not wanted any more."
        ) from None


def roots(store: Store) -> tuple[list[Root], list[str]]:
    """All roots, by result; and a line for each that cannot be read."""
    found: list[Root] = []
    faults: list[str] = []
    for file in sorted((store.root / FOLDER).glob("*.json")):
        if file.name.startswith("."):
            continue  # being written
        try:
            found.append(read_root(file))
        except StoreError as error:
            faults.append(str(error))
    return sorted(found, key=lambda root: (root.result.name, root.published_at)), faults


def release(store: Store, which: str, yes: bool) -> Root:
    """Drop the root that is meant: by id, by path, or as name/key. Neither the result nor any stage is touched.

    Raises InputError if there is none, if it is not the only one, or if it is another user's and `yes` is not said.
    """
    known, faults = roots(store)
    meant = [root for root in known if _is_meant(root, which)]
    if not meant:
        names = ", ".join(root.result.name for root in known[-5:]) or "none"
        broken = "".join(f"\n{fault}" for fault in faults)
        raise InputError(f"release {which}: no such root in {store.root}. There are: {names}.{broken}")
    if len(meant) > 1:
        ids = ", ".join(f"{root.id} ({root.result.path}, @{root.result.manifest.digest[:4]})" for root in meant)
        raise InputError(f"release {which}: {len(meant)} roots are called that. Choose one by its id: {ids}.")
    (root,) = meant
    if root.user != user_name() and not yes:
        raise InputError(f"release {which}: published by {root.user}. Ask them, or add --yes.")
    _file(store, root.id).unlink(missing_ok=True)
    return root


def _file(store: Store, id_: str) -> Path:
    return store.root / FOLDER / f"{id_}.json"


def _is_meant(root: Root, which: str) -> bool:
    name, _, digest = which.partition("@")
    if which == root.id or (name == root.result.name and root.result.manifest.digest.startswith(digest)):
        return True
    return any(root.result.path == path for path in _paths(which))


def _paths(which: str) -> Sequence[Path]:
    """What is typed, relative to where it is typed; as published, links followed."""
    typed = Path(which).expanduser()
    return [typed.absolute(), typed.resolve()]
