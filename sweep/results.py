"""The command `results`: lists those published from this store, wherever they lie, and those in the results folder.

A result is `results/NAME/KEY/`, KEY that of the stage that made it. We replace and remove none.
"""

from __future__ import annotations

from collections.abc import Sequence

from sweep.compose import compose_entry
from sweep.console import Console, escape
from sweep.holder import user
from sweep.inventory import size_of
from sweep.result import Result, latest_of, results_in
from sweep.roots import Root, roots
from sweep.show_results import Listed, show_listed
from sweep.store import Store


def list_results(console: Console, overrides: Sequence[str]) -> int:
    """List all results; exit status 1 if one cannot be read."""
    entry = compose_entry(overrides)
    known, faults = roots(Store(entry.store))
    here, unreadable = results_in(entry.results)
    rooted = {(root.result.path, root.result.manifest.digest) for root in known}
    listed = [_listed(root.result, root) for root in known]
    listed += [_listed(each, None) for each in here if (each.path.resolve(), each.manifest.digest) not in rooted]
    show_listed(console, sorted(listed, key=lambda each: (each.name, each.finished_at, each.path)))
    for fault in (*faults, *unreadable):
        console.errors.print(f"  [red]damaged[/red]  {escape(fault)}", soft_wrap=True)
    return 1 if faults or unreadable else 0


def _listed(result: Result, root: Root | None) -> Listed:
    manifest, is_there = result.manifest, root is None or root.is_there
    product = manifest.content["stages"].get(manifest.product, {})
    return Listed(
        name=result.name,
        digest=manifest.digest,
        points=manifest.content.get("points"),
        finished_at=str(product.get("finished_at", "")),
        size_bytes=size_of(result.path) if is_there else None,
        usd=float(manifest.content.get("usd", 0.0)),
        path=str(result.path),
        is_latest=is_there and latest_of(result.path),
        changed=result.changed if is_there else [],
        root=root.id if root else "",
        by=root.user if root and root.user != user() else "",
    )
