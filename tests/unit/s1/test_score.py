import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from s1.evaluate.graders import Grade
from s1.evaluate.replay import ReplayError, evaluate, task_over
from s1.evaluate.score import ScoreError, scores
from s1.records import AnswerEnd, Ending, Outcome, Question, ScoreRow, TraceRow, read_rows, write_rows
from s1.stages import ScoresConfig
from sweep.core.identity import key_of
from sweep.core.stage import Finished, Work

PROBLEMS = {"What is 6 times 7?": "42", "What is 2 plus 3?": "5", "What is 9 minus 9?": "0"}
QUESTIONS = [Question(key_of(prompt), prompt, gold) for prompt, gold in PROBLEMS.items()]


def answer(
    question: Question,
    sample: int,
    text: str,
    ending: Ending = Ending.NATURAL,
    answer_end: AnswerEnd = AnswerEnd.STOP,
) -> TraceRow:
    return TraceRow(
        question_id=question.question_id,
        sample=sample,
        prompt_tokens=7,
        segments=[],
        thinking="",
        answer=text,
        ending=ending,
        thinking_tokens=11,
        answer_tokens=3,
        answer_end=answer_end,
        thinks_on_tokens=2,
        waits=1,
        sampled_tokens=15,
    )


def work(
    directory: Path,
    answers: Sequence[TraceRow],
    task: str = "dial",
    samples: int = 1,
    questions: Sequence[Question] = QUESTIONS,
) -> Work[ScoresConfig]:
    for name in ("questions", "traces", "out"):
        (directory / name).mkdir(parents=True)
    write_rows(directory / "questions" / "questions.jsonl", questions)
    write_rows(directory / "traces" / "traces.jsonl", answers)
    inputs = {"questions": (directory / "questions",), "traces": (directory / "traces",), "rows": ()}
    config = ScoresConfig(task, samples=samples)
    out = directory / "out"
    return Work(directory.name, config, inputs, out, out, out, settings={}, report=lambda done, total, unit: None)


def scored(work: Work[ScoresConfig]) -> tuple[Finished, list[ScoreRow]]:
    (finished,) = scores([work])
    return finished, read_rows(work.out / "scores.jsonl", ScoreRow)


def test_a_missing_answer_has_outcome_none(tmp_path: Path) -> None:
    first, second, third = QUESTIONS
    answers = [
        answer(first, 0, r"\boxed{042}"),
        answer(second, 0, " 6", Ending.FORCED),
        answer(third, 0, "I would say", Ending.FORCED),
    ]
    finished, scores = scored(work(tmp_path, answers))
    assert [(each.extracted, each.correct, each.outcome) for each in scores] == [
        ("42", True, Outcome.ANSWERED),
        ("6", False, Outcome.FORCED),
        (None, False, Outcome.NONE),
    ]
    assert finished.summary == {
        "accuracy": 1 / 3,
        "questions": 3,
        "samples": 1,
        "no_answer_share": 1 / 3,
        "cut_share": 0.0,
        "disagreements": 0,
    }
    assert (scores[0].gold, scores[0].thinking_tokens, scores[0].waits, scores[0].sampled_tokens) == ("42", 11, 1, 15)


def test_what_the_context_cut_is_wrong_whatever_a_grader_makes_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s1.evaluate.graders.grade_integer", lambda text, gold: Grade("1", True))
    first, second, third = QUESTIONS
    ends = {AnswerEnd.STOP: first, AnswerEnd.CONTEXT: second, AnswerEnd.CAP: third}
    answers = [answer(question, 0, "7", answer_end=end) for end, question in ends.items()]
    finished, scores = scored(work(tmp_path, answers))
    assert [each.correct for each in scores] == [True, False, True]
    assert finished.summary["accuracy"] == 2 / 3


def test_every_sample_is_scored_and_keeps_its_place(tmp_path: Path) -> None:
    texts = {"42": ("42", "41", "none"), "5": ("5", "5", "5"), "0": ("1", "2", "0")}
    answers = [answer(each, sample, texts[each.gold][sample]) for sample in (2, 0, 1) for each in QUESTIONS[::-1]]
    finished, scores = scored(work(tmp_path, answers, samples=3))
    correct = {each.gold: [row.correct for row in scores if row.gold == each.gold] for each in QUESTIONS}
    assert correct == {"42": [True, False, False], "5": [True, True, True], "0": [False, False, True]}
    assert [each.sample for each in scores] == [0, 1, 2] * 3
    assert finished.summary["accuracy"] == 5 / 9
    stock = json.loads((tmp_path / "out" / "lm_eval.json").read_text(encoding="utf-8"))["results"]["dial"]
    assert stock["exact_match,samples"] == pytest.approx(5 / 9)
    assert stock["extracted,samples"] == pytest.approx(8 / 9)


def test_points_of_one_batch_do_not_mix_their_answers(tmp_path: Path) -> None:
    right = [answer(each, 0, each.gold) for each in QUESTIONS]
    wrong = [answer(each, 0, "77") for each in QUESTIONS]
    works = [work(tmp_path / name, rows) for name, rows in (("a", right), ("b", wrong), ("c", right))]
    shared = [replace(each, inputs={**each.inputs, "questions": works[0].inputs["questions"]}) for each in works]
    assert [(each.key, each.summary["accuracy"]) for each in scores(shared)] == [("a", 1.0), ("b", 0.0), ("c", 1.0)]


def test_the_same_answers_give_the_same_bytes_wherever_they_lie(tmp_path: Path) -> None:
    answers = [answer(each, 0, each.gold) for each in QUESTIONS]
    first, second = work(tmp_path / "here", answers), work(tmp_path / "there", answers)
    list(scores([first, second]))
    for name in ("scores.jsonl", "lm_eval.json"):
        content = (first.out / name).read_bytes()
        assert content == (second.out / name).read_bytes()
        assert str(tmp_path).encode() not in content


@pytest.mark.parametrize(
    ("task", "gold", "text"),
    [("math500", r"\frac{1}{2}", r"\boxed{0.5}"), ("gpqa_diamond", "B", "Answer: (b)"), ("aime25", "073", "$73$")],
)
def test_each_task_grades_with_its_own_grader(tmp_path: Path, task: str, gold: str, text: str) -> None:
    question = Question(key_of("Which?"), "Which?", gold)
    finished, _ = scored(work(tmp_path, [answer(question, 0, text)], task, questions=[question]))
    assert finished.summary["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([answer(QUESTIONS[0], 0, "42")], r"has samples \[\], not 0 to 0"),
        ([answer(each, sample, "1") for each in QUESTIONS for sample in (0, 2)], r"samples \[0, 2\], not 0 to 0"),
        ([answer(each, 0, "1") for each in [*QUESTIONS, QUESTIONS[0]]], r"samples \[0, 0\], not 0 to 0"),
        ([answer(Question("gone", "?", "1"), 0, "1")], r"question gone: is not one of the questions"),
    ],
)
def test_answers_that_do_not_match_the_questions_are_refused(
    tmp_path: Path, answers: list[TraceRow], message: str
) -> None:
    with pytest.raises(ScoreError, match=message):
        scored(work(tmp_path, answers))


def test_documents_without_a_stored_answer_are_refused() -> None:
    task = task_over([{"answer": each.gold} for each in QUESTIONS], "dial")
    with pytest.raises(ReplayError, match=r"documents \[0, 1, 2\]: 2 texts are stored"):
        evaluate(task, ["42", "5"])


@pytest.mark.slow
def test_scoring_prints_nothing(tmp_path: Path) -> None:
    """In a process of its own: what else runs in this one may print."""
    code = f"from tests.unit.s1.test_score import *; scored(work(Path({str(tmp_path)!r}), gold_answers()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def gold_answers() -> list[TraceRow]:
    return [answer(each, 0, each.gold) for each in QUESTIONS]
