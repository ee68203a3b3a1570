"""A written report as Markdown (GitHub's). Texts of users stay text: no HTML, no broken table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from s1.report.format import cell, indented, prose
from s1.report.written.blocks import (
    Block,
    Code,
    Contents,
    Grid,
    Heading,
    Lines,
    Picture,
    Table,
    Text,
    WrittenReport,
)

SPECIAL = re.compile(r"([\\`*_\[\]#~])")


def markdown(report: WrittenReport, link: Callable[[str], str]) -> str:
    """The whole text. `link`: from a file of the result to its address in the text."""
    parts = [f"# {escaped(report.title)}"]
    headings = [block for block in report.blocks if isinstance(block, Heading)]
    for block in report.blocks:
        parts += _block(block, headings, link)
    return "\n\n".join(parts) + "\n"


def _block(block: Block, headings: Sequence[Heading], link: Callable[[str], str]) -> Iterator[str]:
    match block:
        case Contents():
            yield "\n".join(f"{'  ' * (each.level - 1)}- [{each.text}](#{_anchor(each.text)})" for each in headings)
        case Heading():
            yield f"{'#' * (block.level + 1)} {escaped(block.text)}"
        case Picture():
            yield f"![{escaped(block.title)}]({link(block.name)})"
        case Grid():
            for each in block.shown_without:
                yield from _block(each, headings, link)
        case _:
            yield markdown_of(block)


def markdown_of(block: Text | Lines | Table | Code) -> str:
    """A block that is the same wherever Markdown is drawn."""
    match block:
        case Text():
            return escaped(block.text)
        case Lines():
            return "\n".join(f"- {escaped(item)}" for item in block.items)
        case Table():
            return _table(block)
        case Code():
            return indented(block.text)


def _table(table: Table) -> str:
    rule = "|".join("---:" if column in table.numeric else "---" for column in table.columns)
    rows = [table.columns, *table.rows]
    head, *body = ("| " + " | ".join(_cell(text) for text in row) + " |" for row in rows)
    return "\n".join([head, f"|{rule}|", *body])


def _cell(text: str) -> str:
    return cell(text).replace("*", "\\*")


def escaped(text: str) -> str:
    """One line of plain text, in which no character marks anything up."""
    return SPECIAL.sub(r"\\\1", prose(text))


def _anchor(heading: str) -> str:
    """The address that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
