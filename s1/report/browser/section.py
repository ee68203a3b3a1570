"""The trace browser of the report page: what its template needs, and which files of the archive the page contains.

`traces.html.jinja` is the content of a section and needs `page.traces`, a TraceSection; `traces.css` is its style. The
browser loads KaTeX with `window.s1.load("katex")`, if the page has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from s1.report.trace_archive import open_archive
from s1.report.trace_archive.files import INDEX, packed_file

INLINE_BYTES = 1024 * 1024  # an archive up to this size is part of the page; of a larger one only its index may be


@dataclass(frozen=True)
class InlineFile:
    name: str
    packed: str


@dataclass(frozen=True)
class TraceSection:
    questions: int
    points: int
    has_latex: bool  # whether any text has LaTeX to typeset
    shares_traces: bool  # whether several points aggregate the same traces, such as votes
    is_inline: bool  # whether the page has all texts
    inline: list[InlineFile]


def trace_section(archive: Path) -> TraceSection:
    """What the page shows of the archive in this folder."""
    opened = open_archive(archive)
    sizes = {path.stem: path.stat().st_size for path in sorted(archive.glob("*.js"))}
    is_inline = sum(sizes.values()) <= INLINE_BYTES
    names = list(sizes) if is_inline else [INDEX] if sizes[INDEX] <= INLINE_BYTES else []
    inline = [InlineFile(name, packed_file(archive, name)) for name in names]
    shares_traces = len({point.sources for point in opened.points}) < len(opened.points)
    return TraceSection(len(opened.questions), len(opened.points), opened.has_latex, shares_traces, is_inline, inline)
