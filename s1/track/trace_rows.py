"""The table `traces` of the summary run: a sample of every point, chosen by rule, from the trace archive. Pure reading.

Of each point first the traces whose answer is right where that of the reference of its series is wrong, or the other
way round (`flip`), then those that think longest (`longest`), at most `MOST_TRACES`. The page has all traces.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from s1.records import Outcome
from s1.report.trace_archive import ArchivedTrace, ArchivePoint, ArchiveSource, Origin, Piece, TraceArchive, TracePlace

MOST_TRACES = 50  # of one point
HEAD_CHARACTERS, TAIL_CHARACTERS = 2_000, 6_000  # of a thinking that is longer than both
FLIP, LONGEST = "flip", "longest"


def trace_rows(archive: TraceArchive, references: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows of all points, one after the other. `references`: label of the reference by name of the series."""
    return [row for point in distinct_points(archive.points) for row in _of_point(archive, point, references)]


def distinct_points(points: Sequence[ArchivePoint]) -> list[ArchivePoint]:
    """Points without those that only aggregate the samples of another."""
    first: dict[tuple[ArchiveSource, ...], ArchivePoint] = {}
    for point in points:
        first.setdefault(point.sources, point)
    return list(first.values())


def chosen(archive: TraceArchive, point: ArchivePoint, reference: ArchivePoint | None) -> list[tuple[TracePlace, str]]:
    """Traces of a point by rule, with the reason; without a reference, those that think longest."""
    flips = [] if reference is None or reference == point else archive.flips(point.id, reference.id)
    rest = set(archive.places(point.id)) - set(flips)

    def thinks_less(place: TracePlace) -> tuple[int, TracePlace]:
        return -archive.cell(place.row, point.id, place.seed, place.sample).thinking_tokens, place

    picked = ((place, FLIP) for place in flips), ((place, LONGEST) for place in sorted(rest, key=thinks_less))
    return list(islice((each for kind in picked for each in kind), MOST_TRACES))


def reference_of(archive: TraceArchive, point: ArchivePoint, references: Mapping[str, str]) -> ArchivePoint | None:
    """The reference of the first series of a point, if it has one."""
    for series in point.series:
        label = references.get(series)
        found = [each for each in archive.points if each.label == label and series in each.series]
        if found:
            return found[0]
    return None


def _of_point(archive: TraceArchive, point: ArchivePoint, references: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    golds = archive.questions
    for place, reason in chosen(archive, point, reference_of(archive, point, references)):
        trace = archive.trace(place.row, point.id, place.seed, place.sample)
        question = golds[place.row]
        yield {
            "row": place.row,
            "question_id": question.question_id,
            "task": question.task,
            "point": point.label,
            "series": ", ".join(filter(None, point.series)),
            "seed": place.seed,
            "sample": place.sample,
            "chosen": reason,
            "question": trace.question,
            "thinking": shortened(marked(trace.thinking)),
            "forced": "yes" if any(piece.origin is Origin.CUT for piece in trace.thinking) else "no",
            "answer": trace.answer,
            "extracted": trace.extracted,
            "gold": question.gold,
            "verdict": verdict_of(trace),
            "thinking_tokens": trace.thinking_tokens,
            "ending": trace.ending.value,
            "waits": trace.waits,
        }


def verdict_of(trace: ArchivedTrace) -> str:
    if trace.outcome is Outcome.NONE:
        return "no answer"
    return "right" if trace.correct else "wrong"


def marked(thinking: Sequence[Piece]) -> str:
    """The text of a thinking, with what the sweep wrote between U+27E6 and U+27E7.

    That is the text that it appended in the place of an end, and `cut` before the marker of a forced end.
    """
    return "".join(_marked(piece) for piece in thinking)


def _marked(piece: Piece) -> str:
    if piece.origin is Origin.APPENDED:
        return f"\u27e6{piece.text or 'end suppressed'}\u27e7"
    return f"\u27e6cut\u27e7{piece.text}" if piece.origin is Origin.CUT else piece.text


def shortened(text: str) -> str:
    """Beginning and end of a long text; the number of characters between them is written where they are missing."""
    left_out = len(text) - HEAD_CHARACTERS - TAIL_CHARACTERS
    if left_out <= 0:
        return text
    return f"{text[:HEAD_CHARACTERS]}\n[{left_out:,} characters left out]\n{text[-TAIL_CHARACTERS:]}"
