"""Text from outside in Markdown: it stays one cell or one paragraph, and brings no HTML and no code of its own."""

from __future__ import annotations

import re

from sweep.printable import printable


def prose(text: str) -> str:
    """In a paragraph or heading: on one line, its HTML shown and not obeyed."""
    on_one_line = printable(text).replace("\n", "\\n")
    return re.sub(r"&(?=#?\w+;)", "&amp;", on_one_line).replace("<", "&lt;")


def cell(text: str) -> str:
    """In a cell of a table, or where it is a name: also without columns and code of its own."""
    with_pipes = re.sub(r"(\\*)([|`])", lambda found: f"{found[1] * 2}\\{found[2]}", prose(text))
    return re.sub(r"\\+\Z", lambda found: found[0] * 2, with_pipes)  # or it would take the bar behind it along


def code(text: str) -> str:
    """As code in a cell of a table, whatever backticks it has itself."""
    plain = re.sub(r"(\\*)\|", r"\1\\|", printable(text).replace("\n", "\\n"))
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", plain)), default=0))
    space = " " if len(fence) > 1 else ""
    return f"{fence}{space}{plain}{space}{fence}"


def indented(text: str) -> str:
    """As a block of code."""
    return "    " + printable(text).replace("\n", "\n    ")
