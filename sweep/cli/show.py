"""The command `show`: the points of a result, or traces of one question side by side. Reads the result folder alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from json import dumps
from typing import Any

from rich.table import Table
from rich.text import Text

from sweep.config.compose import compose_entry, pipeline_of
from sweep.console import Console, escape
from sweep.core.shown import Beside, Block, Grid, Paragraph, ShowRequest, Style
from sweep.errors import InputError
from sweep.local.show import result_table
from sweep.printable import printable
from sweep.results.find import find_result
from sweep.store.directory import Store

LEAST_COLUMNS = 50  # of each of two texts side by side; on a narrower terminal they are stacked
STYLES = {
    Style.PLAIN: "",
    Style.HEADING: "bold",
    Style.FAINT: "dim",
    Style.MARK: "bold yellow",
    Style.GOOD: "green",
    Style.BAD: "red",
}


def show(console: Console, result: str, asked: Mapping[str, Any], json: bool, overrides: Sequence[str]) -> int:
    """Print a result, or traces of a question. Raises InputError for a result, question or point that is not there.

    `asked`: the fields of ShowRequest. `json`: print the same as JSON.
    """
    entry = compose_entry(overrides)
    found = find_result("show", result, entry.results, Store(entry.store))
    if not found.path.is_dir():
        raise InputError(f"show {result}: {found.path} is not there any more. Run its command again, or name another.")
    shown = pipeline_of(entry.pipeline, "show").show(found.path, ShowRequest(**asked))
    if json:
        console.file.write(dumps(shown.data, ensure_ascii=False, indent=1) + "\n")
        return 0
    digest = f"@{found.manifest.digest[:4]}" if found.manifest.digest else ""
    console.print(f"[bold]{escape(found.name)}[/bold]{digest}  {escape(str(found.path))}", soft_wrap=True)
    for changed in found.changed:
        console.print(f"  [yellow]changed since[/yellow]  {escape(changed)}", soft_wrap=True)
    show_blocks(console, shown.blocks)
    return 0


def show_blocks(console: Console, blocks: Sequence[Block]) -> None:
    """Print blocks, an empty line before each."""
    for each in blocks:
        console.print()
        if isinstance(each, Grid):
            if each.title:
                console.print(escape(each.title), style="bold")
            console.print(result_table(each.rows))
        elif isinstance(each, Beside):
            _show_beside(console, each)
        else:
            console.print(_text(each))


def _show_beside(console: Console, beside: Beside) -> None:
    columns = [_text(each) for each in beside.columns]
    if console.width < LEAST_COLUMNS * len(columns):
        for at, each in enumerate(columns):
            console.print(*([""] if at else []), each, sep="\n")
        return
    table = Table.grid(padding=(0, 1), expand=True)
    for at in range(2 * len(columns) - 1):
        table.add_column(width=1 if at % 2 else None, ratio=None if at % 2 else 1, overflow="fold")
    height = max(len(each.wrap(console, _width(console, len(columns)))) for each in columns)
    rule = Text("\n".join("\u2502" * height), style="dim")
    cells = [cell for each in columns for cell in (rule, each)][1:]
    table.add_row(*cells)
    console.print(table)


def _width(console: Console, count: int) -> int:
    """Of one of several texts side by side: what the lines between them, and the gaps beside these, leave."""
    return (console.width - 3 * (count - 1)) // count


def _text(paragraph: Paragraph) -> Text:
    """Cleaned before layout: rich drops some control characters, and an escape is wider than what it stands for."""
    text = Text(overflow="fold")
    for span in paragraph.spans:
        text.append(printable(span.text), style=STYLES[span.style])
    return text
