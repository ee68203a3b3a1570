"""The trace_archive stage: all texts behind a curve in one folder, so that a result is browsed without the store.

Rows are questions: two points answer the same one if its task, id and reference agree, as in the statistics, whatever
instruction their prompts have. Points are those of the curve, in its order; a method that runs several traces for an
answer has the one that answered.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s1.config.schema import ConfigError
from s1.evaluate.grading.reading import complete_statements
from s1.generate.trace import Part
from s1.generate.trace_row import TRACES_FILE
from s1.records import AnswerEnd, Question, ScoreRow, TraceRow, read_rows
from s1.report.trace_archive.pieces import ModelTexts
from s1.report.trace_archive.row_files import RowFile
from s1.report.trace_archive.rows import ArchivedQuestion, ArchivedTrace, ArchivePoint, ArchiveSource
from s1.report.trace_archive.writer import ArchiveWriter
from s1.stages import ArchivedScores, TraceArchiveConfig
from sweep.core.stage import Summary, Work

CURVE = "curve.json"


def trace_archive(work: Work[TraceArchiveConfig]) -> Summary:
    """Write the archive; inputs `curve`, and `scores`, `traces`, `questions`, `model`: one of each per point."""
    writer = ArchiveWriter(work.out, points_of(work.one("curve")))
    sources = _sources(work, writer.sources)
    questions = _rows(sources)
    for row, (identity, text) in enumerate(questions.items()):
        task, question_id, gold = identity
        rows = {
            place: source.rows.traces(question_id)
            for place, source in enumerate(sources)
            if identity in source.questions
        }
        every = [each for samples in rows.values() for each in samples]
        loops = dict(zip(map(id, every), looping(every), strict=True))
        traces = {place: list(sources[place].traces(identity, samples, loops)) for place, samples in rows.items()}
        writer.add(ArchivedQuestion(row, question_id, task, gold, text), traces)
        work.report(row + 1, len(questions), "questions")
    writer.close()
    size_bytes = sum(path.stat().st_size for path in work.out.iterdir())
    return {"questions": len(questions), "sources": len(sources), "bytes": size_bytes}


def points_of(curve: Path) -> list[ArchivePoint]:
    """The points of a curve, each once with all its series. Reads the JSON alone: its types import the statistics."""
    findings = json.loads((curve / CURVE).read_text(encoding="utf-8"))
    series_of: dict[str, list[str]] = {}
    points: dict[str, dict[str, Any]] = {}
    for series in findings["series"]:
        for point in series["points"]:
            identity = json.dumps([[each["key"] for each in point["sources"]], point["request"]])
            points.setdefault(identity, point)
            series_of.setdefault(identity, []).append(series["name"])
    return [
        ArchivePoint(
            id=place,
            label=point["label"],
            series=tuple(series_of[identity]),
            values=point["values"],
            valid=not point["audit"]["problems"],
            samples=point["samples"],
            sources=tuple(ArchiveSource(each["key"], each["digest"], each["seed"]) for each in point["sources"]),
        )
        for place, (identity, point) in enumerate(points.items())
    ]


_Identity = tuple[str, str, str]  # task, id and gold of a question


@dataclass
class _Source:
    """The scores of one seed, and what they came from."""

    scored: ArchivedScores
    questions: Mapping[_Identity, Question]
    scores: RowFile
    rows: RowFile
    texts: ModelTexts

    def traces(
        self, identity: _Identity, rows: Sequence[TraceRow], loops: Mapping[int, bool]
    ) -> Iterator[ArchivedTrace]:
        """The traces of a question from its rows, in the order of samples."""
        question = self.questions[identity]
        scores = self.scores.scores(question.question_id)
        if [score.sample for score in scores] != [row.sample for row in rows]:
            raise ConfigError(
                f"{self.scores.path} question {question.question_id}: {len(scores)} scores, {len(rows)} traces."
                " Run with redo=scores to score the traces again."
            )
        prompt = self.texts.prompt(self.scored.thinking_format, question.prompt, rows[0].prompt_tokens)
        for score, row in zip(scores, rows, strict=True):
            yield ArchivedTrace(
                question=question.prompt,
                prompt=prompt,
                thinking=self.texts.pieces(row),
                answer=self.texts.answer(row),
                graded=graded(row, score, self.scored.stops),
                extracted=score.extracted,
                correct=score.correct,
                outcome=score.outcome,
                ending=score.ending,
                answer_end=score.answer_end,
                thinking_tokens=score.thinking_tokens,
                answer_tokens=score.answer_tokens,
                waits=score.waits,
                loops=loops[id(row)],
                branches=score.branches,
                note=score.note,
            )


def looping(rows: Sequence[TraceRow]) -> list[bool]:
    """Whether the thinking of each trace of a question loops.

    The longest come first: a thinking that begins one without loops has none, and so is not searched.
    """
    import numpy as np

    from s1.stats.loops import loops

    thinking = [_thinking_ids(row) for row in rows]
    known: dict[bytes, bool] = {}
    for ids in sorted(thinking, key=len, reverse=True):
        content = np.array(ids, dtype=np.int64).tobytes()
        if not any(other.startswith(content) and not has_loop for other, has_loop in known.items()):
            known[content] = loops(np.frombuffer(content, dtype=np.int64))
    return [known.get(np.array(ids, dtype=np.int64).tobytes(), False) for ids in thinking]


def _thinking_ids(row: TraceRow) -> list[int]:
    return [token for each in row.segments if each["part"] == Part.THINKING.value for token in each["ids"]]


def _sources(work: Work[TraceArchiveConfig], wanted: Sequence[ArchiveSource]) -> list[_Source]:
    """What the archive reads, in the order of its sources. Points with the same scores are read once."""
    roles = [work.inputs[role] for role in ("scores", "traces", "questions", "model")]
    by_key = {each[0].parent.name: each for each in zip(*roles, work.config.points, strict=True)}
    texts: dict[Path, ModelTexts] = {}
    questions: dict[tuple[str, Path], Mapping[_Identity, Question]] = {}
    found: list[_Source] = []
    for source in wanted:
        scores, traces, asked, model, scored = by_key[source.key]
        if (scored.task, asked) not in questions:
            questions[scored.task, asked] = _questions(scored.task, asked)
        found.append(
            _Source(
                scored,
                questions[scored.task, asked],
                RowFile(scores / "scores.jsonl"),
                RowFile(traces / TRACES_FILE),
                texts.setdefault(model, ModelTexts(model)),
            )
        )
    return found


def _questions(task: str, directory: Path) -> dict[_Identity, Question]:
    rows = read_rows(directory / "questions.jsonl", Question)
    return {(task, row.question_id, row.gold): row for row in rows}


def _rows(sources: Sequence[_Source]) -> dict[_Identity, str]:
    """Every question once, with the text of the first source that has it, in the order of the sources."""
    found: dict[_Identity, str] = {}
    for questions in {id(source.questions): source.questions for source in sources}.values():
        for identity, question in questions.items():
            found.setdefault(identity, question.prompt)
    return found


def graded(row: TraceRow, score: ScoreRow, stops: Sequence[str]) -> str:
    """The text that the grader read (s1/evaluate/score.py)."""
    places = [row.answer.find(stop) for stop in stops if stop in row.answer]
    if places:
        return row.answer[: min(places)]
    if score.answer_end is AnswerEnd.CONTEXT:
        return ""
    return complete_statements(row.answer) if score.answer_end is AnswerEnd.CAP else row.answer
