import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from s1.config.data import Control
from s1.config.schema import ConfigError, Hub
from s1.data.conditional import instruction, prompted
from s1.evaluate.questions import questions
from s1.evaluate.rows import check_letters, rows_of_file
from s1.evaluate.task_files import TASKS, task_names
from s1.records import Question, read_rows
from s1.stages import QuestionsConfig
from sweep.core.stage import Work

AIME = {"id": "a", "problem": "What is 6 times 7?", "answer": "042"}


def work(out: Path, config: QuestionsConfig, rows: Path | None = None) -> Work[QuestionsConfig]:
    out.mkdir()
    inputs = {"rows": (rows,) if rows else ()}
    return Work("key", config, inputs, out, out, out, settings={}, report=lambda done, total, unit: None)


def asked(directory: Path, task: str, rows: Sequence[Mapping[str, Any]], limit: int | None = None) -> list[Question]:
    path = directory / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    questions(work(directory / "out", QuestionsConfig(task, hub=None, limit=limit), path))
    return read_rows(directory / "out" / "questions.jsonl", Question)


def gpqa_row(number: int) -> dict[str, str]:
    wrong = {f"Incorrect Answer {n}": f"wrong {n} of {number}" for n in (1, 2, 3)}
    return {
        "Record ID": f"rec{number}",
        "Question": f"Question {number}?",
        "Correct Answer": f"right {number}",
        **wrong,
    }


def test_the_prompt_is_the_question_and_nothing_else(tmp_path: Path) -> None:
    problem = r"Find $\sqrt{{x}}$ in {{braces}} and {% raw %}."
    (question,) = asked(tmp_path, "math500", [{"id": 1, "problem": f" {problem}\n", "answer": "[1, 2]"}])
    assert (question.prompt, question.gold) == (problem, "[1, 2]")


def test_ids_are_the_same_whatever_the_order_and_the_limit(tmp_path: Path) -> None:
    rows = [{"id": n, "problem": f"What is {n} + 1?", "answer": n + 1} for n in range(5)]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = {each.prompt: each.question_id for each in asked(tmp_path / "a", "dial", rows)}
    second = {each.prompt: each.question_id for each in asked(tmp_path / "b", "dial", rows[::-1], limit=3)}
    assert len(set(first.values())) == 5
    assert len(second) == 3
    assert second.items() <= first.items()


def test_rows_may_be_a_product_with_rows_jsonl(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(AIME), encoding="utf-8")
    summary = questions(work(tmp_path / "out", QuestionsConfig("dial", hub=None, limit=None), tmp_path))
    assert summary == {"questions": 1}


@pytest.mark.parametrize(
    "columns",
    [
        {"ID": "2024-I-1", "Problem": "What is 6 times 7?", "Solution": "", "Answer": 42},  # Maxwell-Jia/AIME_2024
        {"problem": "What is 6 times 7?", "answer": "42", "id": "0"},  # math-ai/aime25
        {"problem": "What is 6 times 7?", "answer": "42", "unique_id": "x.json", "level": 1},  # HuggingFaceH4/MATH-500
    ],
)
def test_the_columns_of_each_hub_dataset_are_known(tmp_path: Path, columns: dict[str, Any]) -> None:
    (question,) = asked(tmp_path, "aime24", [columns])
    assert (question.prompt, question.gold) == ("What is 6 times 7?", "42")


def test_gpqa_options_stand_under_the_question_in_an_order_of_their_own(tmp_path: Path) -> None:
    rows = [gpqa_row(number) for number in range(60)]
    found = asked(tmp_path, "gpqa_diamond", rows)
    for row, question in zip(rows, found, strict=True):
        lines = question.prompt.splitlines()
        options = dict(line.split(") ") for line in lines[2:])
        assert lines[:2] == [row["Question"], ""]
        assert list(options) == list("ABCD")
        assert options[question.gold] == row["Correct Answer"]
        assert sorted(options.values()) == sorted(value for name, value in row.items() if "Answer" in name)
    assert {question.gold for question in found} == set("ABCD")


def test_gpqa_order_does_not_depend_on_the_other_rows_or_the_column_order(tmp_path: Path) -> None:
    whole, alone = tmp_path / "whole.jsonl", tmp_path / "alone.jsonl"
    whole.write_text("".join(json.dumps(gpqa_row(number)) + "\n" for number in range(9)), encoding="utf-8")
    alone.write_text(json.dumps(dict(reversed(gpqa_row(7).items()))), encoding="utf-8")
    assert rows_of_file(whole)[7] == rows_of_file(alone)[0]


def test_right_answers_that_are_all_d_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"gpqa letter A: right in 0 of 198 rows, far from a quarter \(\{'D'"):
        check_letters("gpqa", "D" * 198)


def test_right_answers_distributed_by_chance_are_accepted() -> None:
    check_letters("gpqa", "A" * 62 + "B" * 40 + "C" * 50 + "D" * 46)
    check_letters("gpqa", "DD")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], r"rows.jsonl: no rows"),
        (['{"id": "a"'], r"rows.jsonl line 1: not JSON"),
        (["[]"], r"rows.jsonl line 1: not a JSON object"),
        ([json.dumps(AIME), '{"id": "b", "problem": "p"}'], r"line 2 column 'answer': missing.*columns: id, problem"),
        ([json.dumps(AIME | {"answer": None})], r"line 1 column 'answer': missing, empty or not text"),
        ([json.dumps(AIME | {"answer": "a half"})], r"task aime24 row a: the reference 'a half' cannot be graded"),
        ([json.dumps(AIME), json.dumps(AIME | {"id": "b"})], r"task aime24 row b: has the same question as row a"),
    ],
)
def test_rows_that_cannot_be_asked_or_graded_are_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        questions(work(tmp_path / "out", QuestionsConfig("aime24", hub=None, limit=None), path))


def test_a_missing_file_no_source_and_an_unknown_task_are_refused_with_the_repair(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"task\.data_file .*none\.jsonl: no such file"):
        questions(work(tmp_path / "a", QuestionsConfig("dial", None, None), tmp_path / "none.jsonl"))
    with pytest.raises(ConfigError, match=r"task\.data_file null: the task has no rows"):
        questions(work(tmp_path / "b", QuestionsConfig("dial", None, None)))
    with pytest.raises(ConfigError, match=r"task\.name 'aime': no such task. Known: aime24, aime25, .*gpqa_diamond"):
        questions(work(tmp_path / "c", QuestionsConfig("aime", None, None)))


def test_a_hub_out_of_reach_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    hub = Hub("math-ai/aime25", "0" * 40, "test")
    with pytest.raises(
        ConfigError, match=r"task\.hub math-ai/aime25: commit 0{40} is not in .*set task.data_file"
    ) as caught:
        questions(work(tmp_path / "out", QuestionsConfig("aime25", hub, None)))
    assert "\n" not in str(caught.value)


def test_each_task_file_is_named_as_its_task_and_has_a_config_group() -> None:
    conf = Path(__file__).parents[3] / "conf" / "task"
    assert sorted([*task_names(), "own"]) == sorted(path.stem for path in conf.glob("*.yaml"))
    for name in task_names():
        assert f"\ntask: {name}\n" in (TASKS / f"{name}.yaml").read_text(encoding="utf-8")
        assert f"\nname: {name}\n" in (conf / f"{name}.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "rows"), [("aime24", 30), ("aime25", 30), ("math500", 500)])
def test_the_real_benchmarks_become_questions(tmp_path: Path, name: str, rows: int) -> None:
    directory = os.environ.get("S1_DATA_DIR")
    if directory is None:
        pytest.skip("S1_DATA_DIR not set: no real benchmark rows were asked")
    path = Path(directory) / f"{name}.jsonl"
    assert questions(work(tmp_path / "out", QuestionsConfig(name, None, None), path)) == {"questions": rows}


def test_an_instruction_follows_the_question_and_changes_no_id(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(AIME), encoding="utf-8")
    made = {}
    for name, text in (("plain", None), ("told", instruction(Control.TOKENS, 1024))):
        questions(work(tmp_path / name, QuestionsConfig("aime24", None, None, text), tmp_path / "rows.jsonl"))
        (made[name],) = read_rows(tmp_path / name / "questions.jsonl", Question)
    assert made["told"].prompt == "What is 6 times 7?\n\nThink for up to 1024 tokens."
    assert made["told"].prompt == prompted(AIME["problem"], Control.TOKENS, 1024)  # as it was trained
    assert made["told"].question_id == made["plain"].question_id
