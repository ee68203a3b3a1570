"""Show a published result in a terminal, from its folder alone: points, audit and verdict, or the traces of a question.

table.csv, or the table of a result without points; README.md: claim, verdict, notes; traces/: s1/report/show_traces.py
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from s1.config.schema import ConfigError
from s1.files.csv_files import Cell
from s1.report.show_traces import PointNames, archive_of, flips, question_of
from s1.report.tables import as_written, read_table, shown
from sweep.core.identity import Json
from sweep.core.shown import Block, Grid, Paragraph, Shown, ShowRequest, Span, Style
from sweep.errors import InputError

POINTS = "table.csv"
OTHER_TABLES = ("funnel.csv", "training.csv")  # of results of goal=data and goal=checkpoint
README = "README.md"
FLIPS = "flips"
SENTENCES = ("**Claim.**", "**Verdict")  # how paragraphs of README.md begin that are shown
METRICS = "Control "  # the paragraph before the notes of a series
ENDS = ("#", "|", "**", "![", "Intervals:")  # and what follows these notes


def show(folder: Path, request: ShowRequest) -> Shown:
    """Blocks to print. Raises InputError for a question or point that the result does not have."""
    if not (folder / POINTS).is_file():
        return _without_points(folder, request)
    rows = read_table(folder / POINTS)
    if request.question is None:
        return _points(folder, rows, request)
    archive = archive_of(folder)
    names = PointNames(archive, rows)
    if request.question == FLIPS:
        return flips(archive, names, request)
    return question_of(archive, names, request)


def _without_points(folder: Path, request: ShowRequest) -> Shown:
    for option, value in (("--question", request.question), ("--points", request.points)):
        if value is not None:
            raise InputError(f"{option} {value}: the result has no points. Leave it out, or name one of goal=curve.")
    tables = [as_written(folder / name) for name in OTHER_TABLES if (folder / name).is_file()]
    data: list[Json] = [dict(row) for rows in tables for row in rows]
    return Shown([*_prose(folder), *map(Grid, tables)], data)


def _points(folder: Path, rows: Sequence[Mapping[str, Cell]], request: ShowRequest) -> Shown:
    """The table of points, the audit, and what the report says of them."""
    for option, value in (("--seed", request.seed), ("--sample", request.sample)):
        if value is not None:
            raise InputError(f"{option} {value}: chooses a trace of a question. Add --question, or leave it out.")
    kept = range(len(rows))
    if request.points is not None:
        chosen = PointNames(archive_of(folder), rows).places(request.points)
        kept = [at for at, row in enumerate(rows) if any(point.is_row(row) for point in chosen)]
    table = shown(folder / POINTS)
    blocks: list[Block] = [
        Grid([table[at] for at in kept]),
        Grid([_audited(rows[at], table[at]["point"]) for at in kept], "audit"),
        *_prose(folder),
    ]
    data: list[Json] = [dict(rows[at]) for at in kept]
    return Shown(blocks, {"points": data, "report": list(_sentences(folder))})


def _audited(row: Mapping[str, Cell], name: str) -> dict[str, str]:
    """What the audit found, in traces or percent of them."""
    return {
        "point": name,
        "valid": str(row["valid"]),
        "over budget": _count(row, "over_budget"),
        "under minimum": _count(row, "under_minimum"),
        "mean Waits": _count(row, "mean_waits"),
        "all Waits %": _percent(row, "all_waits_share"),
        "thinks on %": _percent(row, "thinks_on_share"),
        "loops %": _percent(row, "loop_share"),
        "graders disagree": _count(row, "graders_disagree"),
    }


def _count(row: Mapping[str, Cell], column: str) -> str:
    value = row.get(column)
    return "" if value is None else f"{value:g}" if isinstance(value, int | float) else value


def _percent(row: Mapping[str, Cell], column: str) -> str:
    value = row.get(column)
    return f"{100 * value:.1f}" if isinstance(value, int | float) else ""


def _prose(folder: Path) -> Iterator[Paragraph]:
    """Claim, verdict and notes of the report."""
    for sentence in _sentences(folder):
        heading, separator, rest = sentence.partition(".** ")
        if sentence.startswith("**") and separator:
            yield Paragraph((Span(f"{heading[2:]}. ", Style.HEADING), Span(rest)))
        else:
            yield Paragraph((Span(sentence),))


def _sentences(folder: Path) -> Iterator[str]:
    """Paragraphs of README.md that say something of the points. Raises ConfigError if it cannot be read."""
    try:
        lines = (folder / README).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{folder / README}: cannot be read ({error}). Publish the result again.") from None
    is_note = False
    for text in filter(None, lines):
        is_note = text.startswith(METRICS) or (is_note and not text.startswith(ENDS))
        if is_note or text.startswith(SENTENCES):
            yield html.unescape(text)
