"""The command `results`: lists results published from this store, wherever they are, and those in the results folder.

A result is `results/NAME/KEY/`, where KEY is the key of its final stage. The list is readable at 80 columns and in a
pipe, and never truncates names or paths that a user may copy. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweep.accounts import account_name
from sweep.cli.store import size
from sweep.config.compose import compose_entry
from sweep.console import Console, escape
from sweep.core.identity import SHORT_DIGEST_CHARACTERS
from sweep.maintenance.inventory import size_of
from sweep.results.result import Result, latest_of, results_in
from sweep.results.roots import Root, roots
from sweep.store.directory import Store


def list_results(console: Console, overrides: Sequence[str]) -> int:
    """List all results; exit status 1 if one cannot be read."""
    entry = compose_entry(overrides)
    known, faults = roots(Store(entry.store))
    here, unreadable = results_in(entry.results)
    rooted = {(root.result.path, root.result.manifest.digest) for root in known}
    listed = [_listed(root.result, root) for root in known]
    listed += [_listed(each, None) for each in here if (each.path.resolve(), each.manifest.digest) not in rooted]
    if not listed:
        place, store = (f"{each}{'' if each.is_dir() else ' (nothing there)'}" for each in (entry.results, entry.store))
        console.print(escape(f"no results in {place}, and none of the store {store}."), soft_wrap=True)
    show_listed(console, sorted(listed, key=lambda each: (each.name, each.finished_at, each.path)))
    for fault in (*faults, *unreadable):
        console.errors.print(f"  [red]damaged[/red]  {escape(fault)}", soft_wrap=True)
    return 1 if faults or unreadable else 0


def _listed(result: Result, root: Root | None) -> Listed:
    manifest, is_there = result.manifest, root is None or root.is_there
    artifact = manifest.content["stages"].get(manifest.artifact or "")
    return Listed(
        name=result.name,
        digest=manifest.digest,
        points=manifest.content.get("points"),
        finished_at=str(artifact.get("finished_at", "")) if artifact else "",
        size_bytes=size_of(result.path) if is_there else None,
        usd=float(manifest.content.get("usd", 0.0)),
        path=str(result.path),
        is_latest=is_there and latest_of(result.path),
        changed=result.changed if is_there else [],
        root=root.id if root else "",
        by=root.user if root and root.user != account_name() else "",
    )


@dataclass(frozen=True)
class Listed:
    """One result."""

    name: str  # name/key
    digest: str  # of the final stage; "" if published by a version that did not record it
    points: int | None
    finished_at: str
    size_bytes: int | None  # None if the folder is missing
    usd: float
    path: str
    is_latest: bool
    changed: Sequence[str]  # files
    root: str  # "" if this store has no root for it
    by: str  # another user, or "" for yourself


def show_listed(console: Console, results: Sequence[Listed]) -> None:
    """Print a few lines for each result, with changed and missing files highlighted."""
    for each in results:
        digest = f"@{each.digest[:SHORT_DIGEST_CHARACTERS]}" if each.digest else ""
        latest = "  [green]latest[/green]" if each.is_latest else ""
        console.print(f"[bold]{escape(each.name)}[/bold]{digest}{latest}", soft_wrap=True)
        console.print(f"  {escape(', '.join(_facts(each)))}", soft_wrap=True)
        console.print(f"  {escape(each.path)}", soft_wrap=True)
        for name in each.changed:
            console.print(f"  [yellow]changed since[/yellow]  {escape(name)}", soft_wrap=True)
        if each.size_bytes is None:
            release = f"python -m sweep store release {each.root}"
            console.print(f"  [yellow]not there[/yellow]  the store keeps its stages until: {release}", soft_wrap=True)


def _facts(each: Listed) -> list[str]:
    facts = [f"{each.points} point{'' if each.points == 1 else 's'}"] if each.points is not None else []
    facts += [each.finished_at.replace("T", " ").replace("+00:00", " UTC")] if each.finished_at else []
    facts += [size(each.size_bytes)] if each.size_bytes is not None else []
    facts += [f"{each.usd:.4f} USD" if each.usd < 1 else f"{each.usd:,.2f} USD"]
    facts += [f"by {each.by}"] if each.by else []
    return facts if each.root else [*facts, "no root in this store"]
