"""The list of results as people read it, also at 80 columns and in a pipe: nothing that is to be copied is cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweep.console import Console, escape
from sweep.identity import SHORT_DIGEST_CHARACTERS
from sweep.show_store import size


@dataclass(frozen=True)
class Listed:
    """One result."""

    name: str  # name/key
    digest: str  # of the product; "": of a version that did not note it
    points: int | None
    finished_at: str
    size_bytes: int | None  # None: it is not there
    usd: float
    path: str
    is_latest: bool
    changed: Sequence[str]  # files
    root: str  # "": none in this store
    by: str  # another user; "": oneself


def show_listed(console: Console, results: Sequence[Listed]) -> None:
    """A few lines each; what is not as it was published stands out."""
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
            console.print(f"  [yellow]not there[/yellow]  the store keeps what it rests on: {release}", soft_wrap=True)
    if not results:
        console.print("no results.")


def _facts(each: Listed) -> list[str]:
    facts = [f"{each.points} point{'' if each.points == 1 else 's'}"] if each.points is not None else []
    facts += [each.finished_at.replace("T", " ").replace("+00:00", " UTC")] if each.finished_at else []
    facts += [size(each.size_bytes)] if each.size_bytes is not None else []
    facts += [f"{each.usd:.4f} USD" if each.usd < 1 else f"{each.usd:,.2f} USD"]
    facts += [f"by {each.by}"] if each.by else []
    return facts if each.root else [*facts, "no root in this store"]
