"""Copy a published result to a folder for git or for sharing, replacing an earlier copy.

Replaces or removes only files that the manifest of the earlier copy names, each by a rename and the manifest last.
"""

from __future__ import annotations

import os
from pathlib import Path

from sweep.errors import InputError
from sweep.results.publish import Published, copy_file, remove_abandoned
from sweep.results.result import LATEST, MANIFEST, read_result, temporary_path
from sweep.results.roots import roots
from sweep.store.directory import Store
from sweep.store.temporary import remove, token


def copy_to(published: Published, target: Path) -> None:
    """Copy the files of a result to `target`. Raises InputError if another file is in the way."""
    there = read_result(published.path)  # its manifest may be older than the one in memory
    names = [*published.manifest["files"], *(there.manifest.side_files if there else ()), MANIFEST]
    replaceable = _replaceable_files(target)
    for name in names:
        if os.path.lexists(target / name) and not (replaceable is None or name in replaceable):
            raise InputError(f"to {target / name}: exists, and is not part of a result. Move it away.")
    for name in names:
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(place.parent)
        temporary = temporary_path(place.parent, place.name, token())
        try:
            copy_file(published.path / name, temporary)
            temporary.replace(place)
        finally:
            remove(temporary)
    for name in sorted((replaceable or set()).difference(names)):
        (target / name).unlink(missing_ok=True)


def refuse_result(store: Store, target: Path) -> None:
    """Raises InputError if the folder is a result itself, because results are never replaced."""
    is_known = any(root.result.path == target.resolve() for root in roots(store)[0])
    if is_known or os.path.lexists(target.parent / LATEST):
        raise InputError(f"to {target}: a published result, which is never replaced. Choose another folder.")


def _replaceable_files(target: Path) -> set[str] | None:
    """Names of files that may be replaced; None: all, for a result of an earlier version without a list."""
    if not os.path.lexists(target):
        return set()
    there = read_result(target) if target.is_dir() else None
    if there is None and not (target.is_dir() and not any(target.iterdir())):
        raise InputError(f"to {target}: exists, and is not a result (no {MANIFEST}). Choose another folder.")
    if there is None:
        return set()
    return None if there.manifest.files is None else {*there.manifest.all_files, MANIFEST}
