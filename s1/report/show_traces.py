"""Show traces of one question from the trace archive of a result, side by side, or the questions that two points flip.

Texts of the model are shown as they are. What was put into them is marked, also without colour:

    [cut: </think>]     the budget or the context ended the thinking here, with this marker
    [+Wait]             an end of thinking was suppressed here, and this text appended
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, product
from pathlib import Path

from s1.files.csv_files import Cell as CsvCell
from s1.records import Ending, Outcome
from s1.report.trace_archive import (
    ArchivedTrace,
    ArchivePoint,
    Cell,
    Origin,
    Piece,
    QuestionId,
    TraceArchive,
    TracePlace,
    common_prefix,
    open_archive,
)
from sweep.core.identity import Json, canonical_fields
from sweep.core.shown import Beside, Grid, Paragraph, Shown, ShowRequest, Span, Style, line
from sweep.errors import InputError
from sweep.suggestions import nearest

FOLDER = "traces"  # of a result
LEAST_FOLDED = 200  # characters; a shorter common beginning is shown twice
TAIL_SHOWN = 80  # characters of the common beginning
MOST_COMMAS = 8  # of names in --points, whose every split is tried
MOST_DIGITS = 12  # of a row or a place: Python refuses to read thousands of them
NAMED = 20  # points that an error names


def archive_of(folder: Path) -> TraceArchive:
    """The trace archive of a result. Raises InputError if it has none."""
    if not (folder / FOLDER).is_dir():
        raise InputError(
            f"{folder}: has no {FOLDER}/: it was copied without it, or published by an earlier version. Copy the whole"
            " result, or run its command again: finished stages are reused."
        )
    return open_archive(folder / FOLDER)


@dataclass(frozen=True)
class NamedPoint:
    """A point of the archive, with its rows of table.csv: one for each series that it is on."""

    point: ArchivePoint
    rows: tuple[Mapping[str, CsvCell], ...]

    @property
    def label(self) -> str:
        return self.point.label

    @property
    def names(self) -> list[str]:
        """As the table shows it, on each of its series."""
        return [f"{series}, {self.label}" if series else self.label for series in self.point.series]

    def is_row(self, row: Mapping[str, CsvCell]) -> bool:
        return any(row is each for each in self.rows)


class PointNames:
    """Finds points by what a user types: a label, "series, label", or "#3", the place in the archive."""

    def __init__(self, archive: TraceArchive, rows: Sequence[Mapping[str, CsvCell]]) -> None:
        self._archive = archive
        self.points = [NamedPoint(each, tuple(row for row in rows if _is_of(each, row))) for each in archive.points]
        self._rows = rows

    def places(self, typed: str) -> list[NamedPoint]:
        """Points by names separated by commas, which a name may contain itself. Raises InputError."""
        pieces = typed.split(",")
        if len(pieces) <= MOST_COMMAS:
            for joints in product((False, True), repeat=len(pieces) - 1):
                found = [self._named(name) for name in _joined(pieces, joints)]
                if all(len(each) == 1 for each in found):
                    return list({each[0].point.id: each[0] for each in found}.values())
        raise self._unknown(next((each for each in pieces if len(self._named(each)) != 1), typed).strip())

    def default(self, row: int | None = None) -> list[NamedPoint]:
        """The reference of the first line, and the point whose accuracy differs most; of those that have a question."""
        rows = [each for each in self._rows if self._of(each) and (row is None or self._has(each, row))]
        rows = [each for each in rows if each["valid"] == "yes"] or rows
        if not rows:
            return [each for each in self.points if row is None or _has_row(self._archive, each.point, row)][:2]
        on_line = [each for each in rows if each["series"] == rows[0]["series"]]
        reference = min(reversed(on_line), key=_reference_order)
        others = [each for each in on_line if each is not reference]
        furthest = sorted(others, key=lambda each: _change_order(each, reference))
        return [point for each in (reference, *furthest[:1]) if (point := self._of(each))]

    def _named(self, name: str) -> list[NamedPoint]:
        name = name.strip()
        if name.startswith("#") and (number := _number_in(name[1:])) is not None:
            return [each for each in self.points if each.point.id == number]
        return [each for each in self.points if name in each.names] or [
            each for each in self.points if name == each.label
        ]

    def _of(self, row: Mapping[str, CsvCell]) -> NamedPoint | None:
        return next((each for each in self.points if each.is_row(row)), None)

    def _has(self, row: Mapping[str, CsvCell], question: int) -> bool:
        point = self._of(row)
        return point is not None and _has_row(self._archive, point.point, question)

    def _unknown(self, name: str) -> InputError:
        several = self._named(name)
        known = [f"{each.names[0]} (#{each.point.id})" for each in several or self.points]
        more = f" and {len(known) - NAMED} more" if len(known) > NAMED else ""
        what = f"{len(several)} points have this name" if several else "no such point"
        near = nearest(name, [label for each in self.points for label in (each.label, *each.names)])
        question = f" Did you mean {near}?" if near and not several else ""
        return InputError(f"--points {name}: {what}.{question} Known here: {', '.join(known[:NAMED])}{more}.")


def _is_of(point: ArchivePoint, row: Mapping[str, CsvCell]) -> bool:
    return (row["label"], row["key"]) == (point.label, " ".join(source.key for source in point.sources))


def _joined(pieces: Sequence[str], joints: Sequence[bool]) -> list[str]:
    """The pieces as names: `joints` says where a comma belongs to a name."""
    names = [pieces[0]]
    for piece, is_joint in zip(pieces[1:], joints, strict=True):
        if is_joint:
            names[-1] += f",{piece}"
        else:
            names.append(piece)
    return names


def _reference_order(row: Mapping[str, CsvCell]) -> tuple[float, ...]:
    """The fewest votes and suppressed ends first, and of these the longest thinking, as s1/report/curve.py chooses."""
    minimum = _number(row, "budget.min_thinking_tokens")
    return (_number(row, "votes"), _number(row, "waits"), minimum, -_number(row, "thinking_tokens"))


def _change_order(row: Mapping[str, CsvCell], reference: Mapping[str, CsvCell]) -> tuple[float, ...]:
    """The largest change of accuracy first; of equals, the one that thinks longest."""
    change = _number(row, "accuracy") - _number(reference, "accuracy")
    return (-abs(change), -_number(row, "thinking_tokens"))


def _number(row: Mapping[str, CsvCell], column: str) -> float:
    value = row.get(column)
    try:
        return float(value) if value is not None else 0.0
    except ValueError:
        return 0.0


def _number_in(text: str) -> int | None:
    """A row or place; None for another text, and for more digits than any has."""
    return int(text) if text.isdecimal() and len(text) <= MOST_DIGITS else None


def _has_row(archive: TraceArchive, point: ArchivePoint, row: int) -> bool:
    return next(archive.places(point.id, [row]), None) is not None


# ------------------------------------------------------------------------------------------------------ flips


def flips(archive: TraceArchive, names: PointNames, request: ShowRequest) -> Shown:
    """The questions that one of two points answers right and the other wrong."""
    points = names.default() if request.points is None else names.places(request.points)
    if len(points) != 2:
        raise InputError(f"--question flips: compares two points, not {len(points)}. Name two: --points A,B.")
    one, other = points
    _refuse_unasked(archive, points, request)
    places = [each for each in archive.flips(one.point.id, other.point.id) if _is_asked(each, request)]
    rows = [_flip(archive, place, points) for place in places]
    gained = sum(archive.cell(place.row, other.point.id, place.seed, place.sample).correct for place in places)
    differ = "1 trace differs" if len(places) == 1 else f"{len(places)} traces differ"
    text = (
        f"{differ}: {gained} wrong with {one.names[0]} and right with {other.names[0]},"
        f" {len(places) - gained} the other way round."
    )
    data: list[Json] = [dict(row) for row in rows]
    return Shown([line(text), *([Grid(rows)] if rows else [])], data)


def _refuse_unasked(archive: TraceArchive, points: Sequence[NamedPoint], request: ShowRequest) -> None:
    """Raises InputError if two points have no trace to compare: no flips would be a wrong answer."""
    one, other = (set(archive.places(each.point.id)) for each in points)
    names = " and ".join(each.names[0] for each in points)
    if points[0].point.sources == points[1].point.sources:
        raise InputError(
            f"--points: {names} aggregate the same traces, of which none differs. Compare their accuracies, or name"
            " points with traces of their own."
        )
    if not one & other:
        raise InputError(f"--points: {names} share no question, seed and sample. Name two points that do.")
    if not any(_is_asked(each, request) for each in one & other):
        seeds, samples = (_listed({each[at] for each in one & other}) for at in (1, 2))
        raise InputError(f"--seed, --sample: {names} have no such trace. They have: seed {seeds}; sample {samples}.")


def _listed(numbers: Collection[int]) -> str:
    more = f" and {len(numbers) - NAMED} more" if len(numbers) > NAMED else ""
    return ", ".join(map(str, sorted(numbers)[:NAMED])) + more


def _flip(archive: TraceArchive, place: TracePlace, points: Sequence[NamedPoint]) -> dict[str, str]:
    question = archive.questions[place.row]
    row = {"row": f"#{place.row}", "question": question.question_id}
    if len(points[0].point.seeds) > 1:
        row["seed"] = str(place.seed)
    if points[0].point.samples > 1:
        row["sample"] = str(place.sample)
    for each in points:
        cell = archive.cell(place.row, each.point.id, place.seed, place.sample)
        row[each.names[0]] = f"{_verdict(cell)}: {_one_line(cell.extracted)}" if cell.extracted else _verdict(cell)
    return {**row, "reference": _one_line(question.gold)}


def _is_asked(place: TracePlace, request: ShowRequest) -> bool:
    return request.seed in (None, place.seed) and request.sample in (None, place.sample)


# --------------------------------------------------------------------------------------------------- question


def question_of(archive: TraceArchive, names: PointNames, request: ShowRequest) -> Shown:
    """A question, and the traces of points side by side."""
    question = _question(archive, request.question or "")
    points = names.default(question.row) if request.points is None else names.places(request.points)
    place = _place(archive, question, points, request)
    traces = [archive.trace(question.row, each.point.id, place.seed, place.sample) for each in points]
    blocks = [
        Paragraph((Span(f"#{question.row}  {question.question_id}", Style.HEADING), Span(f"  {question.task}"))),
        line(archive.question(question.row).text),
        Paragraph((Span("reference answer: ", Style.FAINT), Span(question.gold))),
        *_folded(traces),
        Beside([_column(each, trace, _fold(traces)) for each, trace in zip(points, traces, strict=True)]),
    ]
    data: Json = {
        "row": question.row,
        "question_id": question.question_id,
        "task": question.task,
        "question": archive.question(question.row).text,
        "reference": question.gold,
        "seed": place.seed,
        "sample": place.sample,
        "traces": [_plain(each, trace) for each, trace in zip(points, traces, strict=True)],
    }
    return Shown(blocks, data)


def _question(archive: TraceArchive, named: str) -> QuestionId:
    """The question of an id, or of a row #12. Raises InputError."""
    questions, rows = archive.questions, archive.rows(named)
    if len(rows) == 1:
        return questions[rows[0]]
    if len(rows) > 1:
        listed = ", ".join(f"#{row} ({questions[row].task})" for row in rows[:NAMED])
        raise InputError(f"--question {named}: {len(rows)} questions have this id. Choose one by its row: {listed}.")
    row = _number_in(named.removeprefix("#"))
    row = row if row is not None and row < len(questions) else None
    if named.startswith("#") and row is not None:
        return questions[row]
    near = nearest(named, [each.question_id for each in questions])
    suggestion = f" Did you mean {near}?" if near else ""
    if row is not None and not named.startswith("#"):
        suggestion = f" Did you mean the row '#{row}'?"
    raise InputError(
        f"--question {named}: no such question.{suggestion} Give an id, a row from '#0' to '#{len(questions) - 1}', or"
        " flips."
    )


def _place(
    archive: TraceArchive, question: QuestionId, points: Sequence[NamedPoint], request: ShowRequest
) -> TracePlace:
    """The first seed and sample that all points have, of those asked for. Raises InputError if there is none."""
    having: list[set[TracePlace]] = []
    for each in points:
        places = list(archive.places(each.point.id, [question.row]))
        if not places:
            raise InputError(f"--points {each.names[0]}: has no trace of {question.question_id}. Leave it out.")
        asked = {place for place in places if _is_asked(place, request)}
        if not asked:
            known = ", ".join(f"seed {place.seed} sample {place.sample}" for place in places[:NAMED])
            raise InputError(f"--seed, --sample: {each.names[0]} has no such trace. It has: {known}.")
        having.append(asked)
    shared = set.intersection(*having)
    if not shared:
        names = " and ".join(each.names[0] for each in points)
        raise InputError(f"--points: {names} share no seed and sample of this question. Show them one at a time.")
    return min(shared)


def _fold(traces: Sequence[ArchivedTrace]) -> int:
    """Characters of the thinking that two traces share and that are shown once; 0 if they are few."""
    if len(traces) != 2:
        return 0
    shared = common_prefix(traces[0].thinking, traces[1].thinking)
    return shared if shared >= LEAST_FOLDED else 0


def _folded(traces: Sequence[ArchivedTrace]) -> Iterator[Paragraph]:
    """What stands for the common beginning."""
    if count := _fold(traces):
        text = "".join(piece.text for piece in traces[0].thinking)[:count]
        tail = " ".join(text[-TAIL_SHOWN:].split())
        waits = _waits(traces[0].thinking, count)
        marked = f" with {waits} suppressed {'end' if waits == 1 else 'ends'}" if waits else ""
        yield line(f"[the same in both: {count:,} characters{marked}, up to ... {tail}]", Style.FAINT)


def _waits(pieces: Sequence[Piece], count: int) -> int:
    """Suppressed ends within so many characters."""
    ends = accumulate(len(piece.text) for piece in pieces)
    within = (piece for piece, end in zip(pieces, ends, strict=True) if end < count or (piece.text and end == count))
    return sum(piece.origin is Origin.APPENDED for piece in within)


def _column(named: NamedPoint, trace: ArchivedTrace, folded: int) -> Paragraph:
    """Verdict, thinking after the common beginning, answer, and what the grader read."""
    facts = [_counted(trace.thinking_tokens, "thinking token")]
    facts += [_counted(trace.answer_tokens, "answer token")] if trace.answer_tokens is not None else []
    facts += [f"Wait x{trace.waits}"] if trace.waits else []
    spans = [
        Span(f"{named.names[0]}: ", Style.HEADING),
        Span(_verdict(trace.cell), Style.GOOD if trace.correct else Style.BAD),
        Span(f"\n{', '.join(facts)}\n\n", Style.FAINT),
        *(Span("[...] ", Style.FAINT) for _ in range(bool(folded))),
        *_trimmed([span for piece in _after(trace.thinking, folded) for span in _marked(piece)], bool(folded)),
        Span("\n\nanswer\n", Style.HEADING),
        Span(trace.answer.strip() or "(none)"),
        Span("\n\nfound in the answer: ", Style.FAINT),
        Span(trace.extracted if trace.extracted is not None else "no answer"),
        *([Span(f" ({trace.note})", Style.FAINT)] if trace.note else []),
    ]
    return Paragraph(spans)


def _after(pieces: Sequence[Piece], count: int) -> Iterator[Piece]:
    """The pieces without their first characters; a piece that is all before them is left out."""
    for piece in pieces:
        if len(piece.text) <= count and (piece.text or count):
            count -= len(piece.text)
        else:
            yield Piece(piece.text[count:], piece.origin)
            count = 0


def _marked(piece: Piece) -> Iterator[Span]:
    """A piece with its mark; new lines around an insertion stay outside the mark."""
    if piece.origin in (Origin.SAMPLED, Origin.UNKNOWN):
        yield Span(piece.text)
        return
    if piece.origin is Origin.DELIMITER:
        yield Span(piece.text, Style.FAINT)
        return
    text = piece.text.strip()
    before, _, after = piece.text.partition(text) if text else ("", "", "")
    inserted = _one_line(text)
    if piece.origin is Origin.CUT:
        mark = f"[cut: {inserted}]" if inserted else "[cut]"
    else:
        mark = f"[+{inserted}]" if inserted else "[end removed]"
    yield from (span for span in (Span(before), Span(mark, Style.MARK), Span(after)) if span.text)


def _trimmed(spans: Sequence[Span], is_folded: bool) -> Sequence[Span]:
    """Without new lines at the end, where an empty line follows, and at a beginning that continues a line."""
    found = list(spans)
    if is_folded and found:
        found[0] = Span(found[0].text.lstrip("\n"), found[0].style)
    if found:
        found[-1] = Span(found[-1].text.rstrip("\n"), found[-1].style)
    return found


def _verdict(cell: Cell) -> str:
    """right; wrong, thinking cut; no answer, answer cut, loops."""
    words = ["right" if cell.correct else "no answer" if cell.outcome is Outcome.NONE else "wrong"]
    words += ["thinking cut"] if cell.ending is Ending.FORCED else []
    words += ["answer cut"] if cell.is_cut else []
    words += ["loops"] if cell.loops else []
    return ", ".join(words)


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _plain(named: NamedPoint, trace: ArchivedTrace) -> Json:
    """A trace as JSON."""
    fields = canonical_fields(trace)
    return {"point": named.names[0], "scores": list(named.point.scores), **fields}
