"""The scores stage: stored answers, judged by an unmodified lm-eval that replays them.

scores.jsonl      Score, one per question and sample
lm_eval.json      lm-eval's own results, without the samples (they are scores.jsonl) and the configs (they name paths)

The task is built from questions.jsonl, the very prompts that were answered: scoring needs no hub, and a changed dataset
cannot slip in between. The mean of our rows must be lm-eval's exact_match.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from s1.evaluate.replay import FILTER, evaluate, load_task
from s1.records import Answer, Ending, Outcome, Question, Score, read_rows, write_rows
from s1.stages import Scoring
from sweep.stage import Finished, Summary, Work


class ScoreError(RuntimeError):
    """Answers that do not belong to the questions, or a score that does not add up."""


def score(works: Sequence[Work[Scoring]]) -> Iterator[Finished]:
    """Score many points in one process; points with the same questions share the loaded task."""
    tasks: dict[tuple[str, Path], Any] = {}
    for work in works:
        path = work.one("questions") / "questions.jsonl"
        source = (work.config.task, path)
        if source not in tasks:
            tasks[source] = load_task(work.config.task, {"data_file": str(path)})
        yield Finished(work.key, _score(work, tasks[source], read_rows(path, Question)))


def _score(work: Work[Scoring], task: Any, questions: Sequence[Question]) -> Summary:
    samples = work.config.samples
    answers_QS = _answers_by_question(work.one("answers") / "answers.jsonl", questions, samples)
    texts = {question.prompt: [answer.answer for answer in answers_QS[question.question_id]] for question in questions}
    results = evaluate(task, texts, samples)
    scores = [score for judged in results["samples"][task.task_name] for score in _scores(judged, answers_QS)]
    accuracy = _mean(score.correct for score in scores)
    _check_sum(results["results"][task.task_name], accuracy)
    write_rows(work.out / "scores.jsonl", scores)
    (work.out / "lm_eval.json").write_text(_stock_results(results), encoding="utf-8")
    return {
        "accuracy": accuracy,
        "questions": len(questions),
        "samples": samples,
        "no_answer_share": _mean(score.outcome is Outcome.NONE for score in scores),
    }


def _answers_by_question(path: Path, questions: Sequence[Question], samples: int) -> dict[str, list[Answer]]:
    """The answers to each question, samples in order. Raises ScoreError if one is missing, double or out of place."""
    answers_QS: dict[str, list[Answer]] = {question.question_id: [] for question in questions}
    for answer in sorted(read_rows(path, Answer), key=lambda answer: answer.sample):
        if answer.question_id not in answers_QS:
            raise ScoreError(f"{path} question {answer.question_id}: was never asked. Generate the answers again.")
        answers_QS[answer.question_id].append(answer)
    for question_id, answers_S in answers_QS.items():
        found = [answer.sample for answer in answers_S]
        if found != list(range(samples)):
            raise ScoreError(
                f"{path} question {question_id}: samples {found}, not 0 to {samples - 1}. Generate the answers again."
            )
    return answers_QS


def _scores(judged: Mapping[str, Any], answers_QS: Mapping[str, Sequence[Answer]]) -> Iterator[Score]:
    """The scores of one question, from lm-eval's record of it."""
    answers_S = answers_QS[judged["doc"]["id"]]
    for answer, extracted, correct in zip(answers_S, judged["extracted"], judged["correct"], strict=True):
        yield Score(
            question_id=answer.question_id,
            sample=answer.sample,
            gold=judged["target"],
            extracted=extracted,
            correct=correct,
            outcome=_outcome(extracted, answer.ending),
            ending=answer.ending,
            thinking_tokens=answer.thinking_tokens,
            answer_tokens=answer.answer_tokens,
            answer_end=answer.answer_end,
            thinks_on_tokens=answer.thinks_on_tokens,
            waits=answer.waits,
            sampled_tokens=answer.sampled_tokens,
        )


def _outcome(extracted: str | None, ending: Ending) -> Outcome:
    if extracted is None:
        return Outcome.NONE
    return Outcome.FORCED if ending is Ending.FORCED else Outcome.ANSWERED


def _check_sum(aggregate: Mapping[str, Any], accuracy: float) -> None:
    theirs = aggregate[f"exact_match,{FILTER}"]
    if not math.isclose(theirs, accuracy, abs_tol=1e-12):
        raise ScoreError(f"exact_match {theirs}: the rows give {accuracy}. Report this: one of the two is wrong.")


def _stock_results(results: Mapping[str, Any]) -> str:
    kept = {name: value for name, value in results.items() if name not in ("samples", "configs")}
    return json.dumps(kept, indent=1, sort_keys=True, allow_nan=False) + "\n"


def _mean(flags: Iterable[bool]) -> float:
    values = list(flags)
    return sum(values) / len(values)
