"""Find a result by what a user types: a path, NAME, NAME/KEY, NAME/KEY@DIGEST, or the id of a root.

A name is looked up in the folder of results first, then in the roots of the store, which know results elsewhere. NAME
alone is the newest result of that name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from sweep.errors import InputError
from sweep.places import expanded
from sweep.results.result import LATEST, Result, read_result, results_in
from sweep.results.roots import Root, roots
from sweep.store.directory import Store
from sweep.suggestions import unknown


def find_result(word: str, named: str, results: Path, store: Store) -> Result:
    """The result that `named` names; `word` is what the error calls it.

    Raises InputError if there is none, with those that there are; StoreError if its manifest is damaged.
    """
    name, _, digest = named.partition("@")
    folders = (expanded(word, name), results / name) if name else ()
    for path in (path for folder in folders for path in (folder / LATEST, folder)):
        found = read_result(path.resolve())
        if found is not None and found.manifest.digest.startswith(digest):
            return found
    known = sorted(roots(store)[0], key=lambda root: root.published_at)
    matching = [root for root in known if _matches(root, name) and root.result.manifest.digest.startswith(digest)]
    if matching:
        there = [root for root in matching if root.is_there]
        return (there or matching)[-1].result
    names = dict.fromkeys(names_of(results, known))
    raise InputError(unknown(f"{word} {named}", "result", name, list(names)))


def names_of(results: Path, known: Sequence[Root]) -> Iterator[str]:
    """NAME and NAME/KEY of all results in a folder and in roots."""
    for each in (*(results_in(results)[0] if results.is_dir() else ()), *(root.result for root in known)):
        yield from filter(None, (each.manifest.experiment, each.name))


def _matches(root: Root, name: str) -> bool:
    return name in (root.id, root.result.name, root.result.manifest.experiment, str(root.result.path))
