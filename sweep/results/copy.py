"""Copy a published result to a folder that is kept in git or sent to somebody, in place of an earlier copy.

Only files that the manifest there names are replaced or removed; each by one rename, the manifest last.
"""

from __future__ import annotations

import os
from pathlib import Path

from sweep.errors import InputError
from sweep.results.publish import Published, copy_file, remove_abandoned
from sweep.results.result import LATEST, MANIFEST, aside_in, read_result
from sweep.results.roots import roots
from sweep.store.directory import Store
from sweep.store.temporary import remove, token


def copy_to(published: Published, target: Path) -> None:
    """Raises InputError if there is something else in the way."""
    names = [*published.manifest["files"], MANIFEST]
    ours = _files_of_ours(target)
    for name in names:
        if os.path.lexists(target / name) and not (ours is None or name in ours):
            raise InputError(f"to {target / name}: there, and not of a result of ours. Move it away.")
    for name in names:
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(place.parent)
        aside = aside_in(place.parent, place.name, token())
        try:
            copy_file(published.path / name, aside)
            aside.replace(place)
        finally:
            remove(aside)
    for name in sorted((ours or set()).difference(names)):
        (target / name).unlink(missing_ok=True)


def refuse_result(store: Store, target: Path) -> None:
    """Raises InputError for a folder that is a result itself: results are never replaced."""
    is_known = any(root.result.path == target.resolve() for root in roots(store)[0])
    if is_known or os.path.lexists(target.parent / LATEST):
        raise InputError(f"to {target}: a result, and no copy of one: it is never replaced. Choose another folder.")


def _files_of_ours(target: Path) -> set[str] | None:
    """What may be replaced there; None: all, of a result that does not list its files."""
    if not os.path.lexists(target):
        return set()
    there = read_result(target) if target.is_dir() else None
    if there is None and not (target.is_dir() and not any(target.iterdir())):
        raise InputError(f"to {target}: there, and not a result of ours (no {MANIFEST}). Choose another folder.")
    if there is None:
        return set()
    return None if there.manifest.files is None else {*there.manifest.files, MANIFEST}
