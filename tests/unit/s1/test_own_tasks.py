"""Tasks of a user's own: YAML files in tasks/, as lm-eval's documentation writes them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from s1.config.schema import Task
from s1.evaluate.disagreements import COLUMNS
from s1.evaluate.task_files import read_task, task_file
from s1.evaluate.task_identity import scoring
from s1.evaluation_stages import questions_stage
from s1.records import AnswerEnd, Outcome, Question, write_rows
from sweep.core.identity import key_of
from sweep.source.digest import source_of
from tests.support.own_tasks import GSM8K, ROWS, TEMPLATE, Place, answer, verdicts


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    return Place(tmp_path)


# ------------------------------------------------------------------------------------------- asked and judged


def test_words_around_the_question_are_asked_once_and_judged(place: Place) -> None:
    place.task(TEMPLATE)
    place.rows(ROWS)
    asked = place.asked()
    assert [each.prompt for each in asked] == [f"Solve: What is {n} times 7? Think first." for n in (2, 5, 6)]
    assert [each.gold for each in asked] == ["14", "35", "42"]
    assert asked[0].doc == ROWS[0]
    scores = place.scored([answer(each, text) for each, text in zip(asked, ["14", r"\boxed{36}", "none"], strict=True)])
    assert verdicts(scores) == [("14", True), ("36", False), (None, False)]
    assert scores[2].outcome is Outcome.NONE


def test_a_stock_task_with_a_regex_filter_and_examples_is_judged_as_lm_eval_does(place: Place) -> None:
    place.task(GSM8K, "gsm8k_local")
    train = [{"question": f"Add {n} and 1.", "answer": f"It is {n} + 1.\n#### {n + 1}"} for n in (10, 20, 30)]
    place.rows(train, "train.jsonl")
    place.rows([{"question": f"Double {n}.", "answer": f"Twice.\n#### {2 * n:,}"} for n in (4, 700)], "test.jsonl")
    asked = place.asked(None, "gsm8k_local")
    assert [each.prompt.count("Question: ") for each in asked] == [3, 3]
    assert asked[0].prompt.endswith("\n\nQuestion: Double 4.\nAnswer:")
    texts = ["Eight.\n#### 8", "#### 1,400 Question: Double 9.\n#### 18", "It is 8", "#### 1400."]
    given = [answer(asked[0], texts[0]), answer(asked[1], texts[1]), answer(asked[0], texts[2], 1)]
    scores = place.scored([*given, answer(asked[1], texts[3], 1)], "gsm8k_local", samples=2)
    assert verdicts(scores) == [("8", True), (None, False), ("1,400", True), ("1400.", True)]
    stock = json.loads((place.root / "store/scores/lm_eval.json").read_text(encoding="utf-8"))["results"]["gsm8k_local"]
    assert stock["exact_match,strict-match"] == 0.75
    assert stock["exact_match,flexible-extract"] == 1.0


def test_functions_of_a_file_beside_the_yaml_see_every_column(place: Place) -> None:
    place.task(
        "include: _base.yaml\nprocess_results: !function mine.graded\nprocess_docs: !function mine.easy\n"
        "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n"
    )
    (place.root / "tasks" / "_base.yaml").write_text(
        "doc_to_text: !function mine.worded\ndoc_to_target: '{{answer}}'\ndescription: 'Be brief. '\n"
    )
    (place.root / "tasks" / "mine.py").write_text(
        "def worded(doc):\n    return f\"[{doc['level']}] {doc['problem']}\"\n"
        "def easy(rows):\n    return rows.filter(lambda row: row['level'] == 'easy')\n"
        "def graded(doc, results):\n"
        "    return {'acc': int(str(doc['answer']) in results[0] and doc['level'] == 'easy')}\n"
    )
    place.rows([*ROWS, {**ROWS[0], "problem": "Hard.", "level": "hard"}])
    asked = place.asked()
    assert [each.prompt for each in asked] == [f"Be brief. [easy] {row['problem']}" for row in ROWS]
    scores = place.scored([answer(each, f" It is {text}. ") for each, text in zip(asked, (14, 1, 42), strict=True)])
    assert verdicts(scores) == [("It is 14.", True), ("It is 1.", False), ("It is 42.", True)]
    assert [path.name for path in read_task("mytask", task_file("mytask")).files] == [
        *("mytask.yaml", "_base.yaml", "mine.py")
    ]


def test_choices_by_index_and_several_references_are_judged_as_in_lm_eval(place: Place) -> None:
    place.task(
        "doc_to_text: '{{problem}}'\ndoc_to_choice: ['no', 'yes']\ndoc_to_target: label\n"
        "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true}]\n"
    )
    place.task("doc_to_text: problem\ndoc_to_target: names\n", "several")
    place.rows([{"problem": "Is 2 even?", "label": 1, "names": ["yes", "yes, it is"]}])
    (question,) = place.asked()
    assert question.gold == "yes"
    assert verdicts(place.scored([answer(question, "Yes"), answer(question, "no", 1)], samples=2)) == [
        ("Yes", True),
        ("no", False),
    ]
    other = Place(place.root / "other")
    other.root.mkdir()
    (question,) = other.asked(name="several")
    assert question.gold == '["yes", "yes, it is"]'
    scores = other.scored([answer(question, "yes, it is"), answer(question, "no", 1)], "several", samples=2)
    assert [each.correct for each in scores] == [True, False]


def test_the_first_example_is_never_the_question_itself(place: Place) -> None:
    place.task("doc_to_text: problem\ndoc_to_target: '{{answer}}'\nnum_fewshot: 2\n")
    place.rows(ROWS)
    for question, row in zip(place.asked(), ROWS, strict=True):
        assert question.prompt.count(row["problem"]) == 1
        assert question.prompt.endswith(row["problem"])


def test_a_stock_yaml_of_a_hub_dataset_is_asked_over_a_file(place: Place) -> None:
    place.task("dataset_path: openai/gsm8k\ntest_split: test\ntraining_split: train\n" + TEMPLATE)
    place.rows(ROWS)
    assert len(place.asked(limit=2)) == 2


def test_one_model_answer_is_never_judged_for_another_question(place: Place) -> None:
    """Equal prompts under an instruction: each answer meets the reference of its own question."""
    place.task(TEMPLATE)
    twins = [Question("one", "Which?", "1", {"solution": 1}), Question("two", "Which?", "2", {"solution": 2})]
    (place.root / "store" / "questions").mkdir(parents=True)
    write_rows(place.root / "store" / "questions" / "questions.jsonl", twins)
    answers = [answer(each, text, sample) for each in twins for sample, text in enumerate("12")]
    assert [each.correct for each in place.scored(answers, samples=2)] == [True, False, False, True]


# ------------------------------------------------------------------------------------------------ cut answers


def test_what_was_cut_is_no_answer_and_what_a_stop_ends_is_whole(place: Place) -> None:
    place.task(TEMPLATE + "generation_kwargs: {until: ['<end>']}\n")
    place.rows(ROWS)
    asked = place.asked()
    given = [("The answer is 14", AnswerEnd.CONTEXT), ("\\boxed{35}<end>99", AnswerEnd.CONTEXT)]
    given += [("Answer: To find the number below 1000 with", AnswerEnd.CAP)]
    scores = place.scored([answer(each, text, 0, end) for each, (text, end) in zip(asked, given, strict=True)])
    assert [(each.extracted, each.correct, each.answer_end) for each in scores] == [
        (None, False, AnswerEnd.CONTEXT),
        ("35", True, AnswerEnd.STOP),
        (None, False, AnswerEnd.CAP),
    ]
    assert [each.outcome for each in scores] == [Outcome.NONE, Outcome.ANSWERED, Outcome.NONE]


def test_answers_that_two_graders_judge_differently_are_listed(place: Place) -> None:
    place.task(TEMPLATE)
    place.rows(ROWS)
    asked = place.asked()
    texts = ["14", "Answer: 34\nor rather $35$", "x" * 300 + "\nAnswer: $42$"]
    place.scored([answer(each, text) for each, text in zip(asked, texts, strict=True)])
    with (place.root / "store/scores/grader_disagreement.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert tuple(row) == COLUMNS
    assert (row["gold"], row["our_reading"], row["our_verdict"], row["math_verify_verdict"]) == (
        *("35", "34", "wrong", "right"),
    )
    assert row["answer_tail"] == texts[1]


def test_what_words_a_task_is_in_the_key_of_its_questions_and_what_judges_it_is_not(place: Place) -> None:
    place.task("include: _base.yaml\nprocess_results: !function mine.graded\n")
    for name, text in (("_base.yaml", TEMPLATE), ("mine.py", "def graded(doc, results):\n    return {}\n")):
        (place.root / "tasks" / name).write_text(text)
    place.rows(ROWS)

    def state() -> tuple[str, str]:
        source_of.cache_clear()  # a command reads the source once
        return questions_stage(Task("mytask", data_file="rows.jsonl")).key, key_of(scoring("mytask"))

    def after(name: str, old: str, new: str) -> tuple[bool, bool]:
        """Whether questions, and whether scores, are others after an edit."""
        before, path = state(), place.root / "tasks" / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
        return before[0] != state()[0], before[1] != state()[1]

    assert after("_base.yaml", "Solve:", "Please solve:") == (True, False)
    assert after("mytask.yaml", "include", "description: Be exact.\ninclude") == (True, False)
    assert after("mine.py", "return {}", "return {'exact_match': 1}") == (False, True)
    assert after("mine.py", "return", "# a comment\n    return") == (False, False)
    assert after("mytask.yaml", "include", "# a comment\ninclude") == (False, False)


def test_an_instruction_follows_ones_own_words_and_changes_no_verdict(place: Place) -> None:
    place.task(TEMPLATE)
    place.rows(ROWS)
    asked = place.asked(instruction="Think for up to 64 tokens.")
    assert asked[0].prompt == "Solve: What is 2 times 7? Think first.\n\nThink for up to 64 tokens."
    assert verdicts(place.scored([answer(each, "14") for each in asked])) == [
        *(("14", True), ("14", False), ("14", False)),
    ]


def test_a_link_to_a_task_finds_what_is_beside_its_file(place: Place) -> None:
    (place.root / "elsewhere").mkdir()
    (place.root / "elsewhere" / "real.yaml").write_text("include: base.yaml\n", encoding="utf-8")
    (place.root / "elsewhere" / "base.yaml").write_text(TEMPLATE, encoding="utf-8")
    (place.root / "tasks").mkdir()
    (place.root / "tasks" / "mytask.yaml").symlink_to(place.root / "elsewhere" / "real.yaml")
    place.rows(ROWS)
    assert len(place.asked()) == 3
