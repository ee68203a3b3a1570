"""The scores stage: an unmodified lm-eval grades stored answers by replaying them.

scores.jsonl               ScoreRow, one per question and sample
lm_eval.json               lm-eval's own results, one document per answer; without samples, which are in scores.jsonl,
                           and without configs, which contain paths
grader_disagreement.csv    answers on which our grader and math-verify disagree

The task is built over the documents stored in questions.jsonl. So scoring needs no hub access, renders no prompt again,
and grades each answer with the document of its own question. The mean of our rows must equal lm-eval's.

Only completed text is graded. A text ends at the task's stop strings; a text cut by the context counts as no answer; a
text cut by a cap is graded up to its last complete statement.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s1.config.data import GraderKind
from s1.evaluate.disagreements import DISAGREEMENTS, answer_disagreements, write
from s1.evaluate.grading.reading import complete_statements
from s1.evaluate.questions import document, task_path
from s1.evaluate.replay import Judge, Judgement, evaluate, judge_of, task_over
from s1.evaluate.task_files import read_task, task_file
from s1.evaluate.task_identity import require_planned, scoring
from s1.records import (
    REWARDS,
    AnswerEnd,
    Ending,
    Outcome,
    Question,
    RewardRow,
    ScoreRow,
    TraceRow,
    read_rows,
    write_rows,
)
from s1.stages import ScoresConfig
from sweep.core.stage import Finished, Summary, Work
from sweep.errors import SweepError


class ScoreError(SweepError, RuntimeError):
    """Question ids repeat, or the answers do not match the questions."""


@dataclass(frozen=True)
class TaskScoring:
    """Shared by points with the same questions: the task over one document per question and sample."""

    questions: Sequence[Question]
    task: Any
    judge: Judge
    stops: tuple[str, ...]


@dataclass(frozen=True)
class Graded:
    """An answer and its part that is graded."""

    answer: TraceRow
    gold: str
    text: str
    end: AnswerEnd


def scores(works: Sequence[Work[ScoresConfig]]) -> Iterator[Finished]:
    """Batch stage function: score many points in one process. Points with the same questions share the loaded task."""
    loaded: dict[tuple[object, ...], TaskScoring] = {}
    for work in works:
        path = work.one("questions") / "questions.jsonl"
        shared = (work.config.task, work.config.samples, task_path(work), path)
        if shared not in loaded:
            loaded[shared] = _load(work.config, task_path(work), read_rows(path, Question))
        yield Finished(work.key, _score(work, loaded[shared]))


def _load(config: ScoresConfig, path: Path | None, questions: Sequence[Question]) -> TaskScoring:
    require_planned(config.task, config.scoring, scoring(config.task, path))
    docs = [document(question) for question in questions for _ in range(config.samples)]
    task = task_over(docs, config.task, path)
    stops = read_task(config.task, path or task_file(config.task)).stops
    return TaskScoring(questions, task, judge_of(task), stops)


def _score(work: Work[ScoresConfig], loaded: TaskScoring) -> Summary:
    samples = work.config.samples
    answers_QS = _answers_by_question(work.one("traces") / "traces.jsonl", loaded.questions, samples)
    graded = [
        Graded(answer, question.gold, *_completed(answer, loaded.stops))
        for question in loaded.questions
        for answer in answers_QS[question.question_id]
    ]
    results = evaluate(loaded.task, [each.text for each in graded])
    judgements = loaded.judge.judgements(results)
    rewards = _rewards(work)
    scores = [_scored(each, judgement, rewards) for each, judgement in zip(graded, judgements, strict=True)]
    write_rows(work.out / "scores.jsonl", scores)
    (work.out / "lm_eval.json").write_text(_stock_results(results), encoding="utf-8")
    return {
        "accuracy": _mean(score.correct for score in scores),
        "questions": len(loaded.questions),
        "samples": samples,
        "no_answer_share": _mean(score.outcome is Outcome.NONE for score in scores),
        "cut_share": _mean(score.answer_end in (AnswerEnd.CAP, AnswerEnd.CONTEXT) for score in scores),
        "disagreements": _second_opinions(work.out, loaded.judge, zip(scores, graded, strict=True)),
    }


def _rewards(work: Work[ScoresConfig]) -> Mapping[tuple[str, int], float] | None:
    """The reward of each answer, by question and sample; None for a point without a reward model."""
    if "rewards" not in work.inputs:
        return None
    rows = read_rows(work.one("rewards") / REWARDS, RewardRow)
    return {(row.question_id, row.sample): row.score for row in rows}


def _second_opinions(out: Path, judge: Judge, judged: Iterable[tuple[ScoreRow, Graded]]) -> int | None:
    """Write grader_disagreement.csv and return the number of rows; None for a task's own grader (no rows)."""
    pairs = [(score, graded.text) for score, graded in judged] if judge.grader else []
    count = write(out / DISAGREEMENTS, answer_disagreements(judge.grader or GraderKind.MATH, pairs))
    return count if judge.grader else None


def _completed(answer: TraceRow, stops: Sequence[str]) -> tuple[str, AnswerEnd]:
    """The text to grade, and what ended it."""
    places = [answer.answer.find(stop) for stop in stops if stop in answer.answer]
    if places:
        return answer.answer[: min(places)], AnswerEnd.STOP
    if answer.answer_end is AnswerEnd.CONTEXT:
        return "", AnswerEnd.CONTEXT
    if answer.answer_end is AnswerEnd.CAP:
        return complete_statements(answer.answer), AnswerEnd.CAP
    return answer.answer, answer.answer_end


def _scored(graded: Graded, judgement: Judgement, rewards: Mapping[tuple[str, int], float] | None) -> ScoreRow:
    answer = graded.answer
    return ScoreRow(
        question_id=answer.question_id,
        sample=answer.sample,
        gold=graded.gold,
        extracted=judgement.extracted,
        # A cut answer and a missing one are wrong, even if the grader accepts an empty text.
        correct=judgement.correct and graded.end not in (AnswerEnd.CONTEXT, AnswerEnd.NONE),
        outcome=_outcome(judgement, answer.ending),
        ending=answer.ending,
        thinking_tokens=answer.thinking_tokens,
        answer_tokens=answer.answer_tokens,
        answer_end=graded.end,
        thinks_on_tokens=answer.thinks_on_tokens,
        waits=answer.waits,
        sampled_tokens=answer.sampled_tokens,
        note=judgement.note,
        reward=None if rewards is None else rewards[answer.question_id, answer.sample],
        branches=answer.branches,
        warned=answer.warned,
    )


def _answers_by_question(path: Path, questions: Sequence[Question], samples: int) -> dict[str, list[TraceRow]]:
    """Group answers by question, samples in order. Raises ScoreError if one is missing, duplicate or unexpected."""
    answers_QS: dict[str, list[TraceRow]] = {question.question_id: [] for question in questions}
    if len(answers_QS) < len(questions):
        raise ScoreError(
            f"{path}: two questions have the same id. Run with redo=questions to make the questions again."
        )
    for answer in sorted(read_rows(path, TraceRow), key=lambda answer: answer.sample):
        if answer.question_id not in answers_QS:
            raise ScoreError(
                f"{path} question {answer.question_id}: is not one of the questions."
                " Run with redo=traces to generate the answers again."
            )
        answers_QS[answer.question_id].append(answer)
    for question_id, answers_S in answers_QS.items():
        found = [answer.sample for answer in answers_S]
        if found != list(range(samples)):
            raise ScoreError(
                f"{path} question {question_id}: has samples {found}, not 0 to {samples - 1}."
                " Run with redo=traces to generate the answers again."
            )
    return answers_QS


def _outcome(judgement: Judgement, ending: Ending) -> Outcome:
    if judgement.extracted is None:
        return Outcome.NONE
    return Outcome.FORCED if ending is Ending.FORCED else Outcome.ANSWERED


def _stock_results(results: Mapping[str, Any]) -> str:
    kept = {name: value for name, value in results.items() if name not in ("samples", "configs")}
    return json.dumps(kept, indent=1, sort_keys=True, allow_nan=False) + "\n"


def _mean(flags: Iterable[bool]) -> float:
    values = list(flags)
    return sum(values) / len(values)
