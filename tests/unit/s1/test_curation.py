"""The stages from a pool to training examples: clean, exam, curate."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from s1.config.data import Filters, GraderKind, SeedSet, Selection, Strategy
from s1.config.schema import ConfigError
from s1.data.curate import curate
from s1.data.difficulty import solver_rows
from s1.data.filter import filtered
from s1.data.funnel import read_funnel
from s1.evaluate.questions import questions
from s1.records import ROWS, Example, PoolRow, Question, SelectedRow, read_rows, write_rows
from s1.stages import CuratedConfig, FilteredConfig, QuestionsConfig, SolverRowsConfig
from tests.support.pools import AIME, PATTERNS, model_directory, order, pool_directory, row, score

ALL = Selection(Strategy.ALL)


def cleaned(directory: Path, rows: Sequence[PoolRow], against: Sequence[str] = ()) -> Path:
    pool = pool_directory(directory / "pool", rows)
    (directory / "asked").mkdir()
    write_rows(directory / "asked" / "questions.jsonl", [Question(text, text, "1") for text in against])
    config = FilteredConfig(Filters(8, PATTERNS))
    filtered(order(directory / "filtered", config, rows=pool, against=directory / "asked"))
    return directory / "filtered"


def told(directory: Path) -> list[tuple[str, int, dict[str, int]]]:
    return [(step.name, step.kept, step.dropped) for step in read_funnel(directory)]


def test_cleaning_counts_what_every_step_drops(tmp_path: Path) -> None:
    leaked = "one two three four five six seven eight"
    rows = [
        row(1),
        row(2, f"Now {leaked} nine?"),
        row(3, thinking=None),
        row(4, "![Image] What is it?"),
        row(5, row(1).question),
        row(6),
    ]
    directory = cleaned(tmp_path, rows, against=[leaked])
    assert read_rows(directory / ROWS, PoolRow) == [rows[0], rows[5]]
    assert told(directory) == [
        ("collected", 6, {}),
        ("decontaminated", 4, {"asked before": 1, "shares 8 words with an evaluation": 1}),
        ("complete", 3, {"no reasoning trace": 1}),
        ("quality", 2, {"an image": 1}),
    ]


def curated(directory: Path, rows: Path, selection: Selection, **inputs: object) -> dict[str, object]:
    given = {"solver_rows": (), "scores": (), **inputs}
    solvers = [f"solver {n}" for n, _ in enumerate(given["scores"])]
    config = CuratedConfig(selection, GraderKind.INTEGER, solvers)
    model = model_directory(directory.with_name("model"))
    return dict(curate(order(directory, config, rows=rows, model=model, **given)))


def test_a_pool_without_cleaning_becomes_examples_sorted_by_id(tmp_path: Path) -> None:
    rows = [row(3, domain="sums"), row(1, answer="Final Answer: 9"), row(2, solution=None), row(4, thinking=None)]
    summary = curated(tmp_path / "curated", pool_directory(tmp_path / "pool", rows), ALL)
    assert read_rows(tmp_path / "curated" / ROWS, Example) == [
        Example(f"{n:04d}", f"What is {n} and one more?", "step " * n + "so", answer)
        for n, answer in ((1, "Final Answer: 9"), (2, "Final Answer: 3"), (3, "Final Answer: 4"))
    ]
    assert read_rows(tmp_path / "curated" / "selection.jsonl", SelectedRow) == [
        SelectedRow("0001", "made", "made", tokens=2, teacher_correct=False),
        SelectedRow("0002", "made", "made", tokens=3, teacher_correct=None),
        SelectedRow("0003", "made", "sums", tokens=4, teacher_correct=True),
    ]
    assert told(tmp_path / "curated") == [
        ("collected", 4, {}),
        ("complete", 3, {"no reasoning trace": 1}),
        ("selected", 3, {}),
    ]
    assert summary == {
        "candidates": 3,
        "seeds": 0,
        "examples": 3,
        "sources": 1,
        "domains": 2,
        "tokens": 9,
        "teacher_correct": 1,
        "teacher_judged": 2,
    }


def answered(directory: Path, asked: Path, right: Mapping[str, bool]) -> Path:
    """A solver's scores: right or wrong by reference."""
    directory.mkdir()
    made = read_rows(asked / "questions.jsonl", Question)
    write_rows(directory / "scores.jsonl", [score(each.question_id, correct=right[each.gold]) for each in made])
    return directory


def test_what_a_solver_gets_right_is_dropped_before_the_draw(tmp_path: Path) -> None:
    """The whole way: pool, exam, the questions stage of the task, two solvers, curation."""
    pool = pool_directory(tmp_path / "pool", [*(row(n) for n in range(1, 6)), row(6, solution="see page 6 or 7")])
    assert solver_rows(order(tmp_path / "solver_rows", SolverRowsConfig(GraderKind.INTEGER), rows=pool)) == {
        "asked": 5,
        "without_reference": 1,
    }
    questions(order(tmp_path / "asked", QuestionsConfig("dial", hub=None, limit=None), rows=tmp_path / "solver_rows"))
    wrong = dict.fromkeys(["2", "3", "4", "5", "6"], False)
    scores = [
        answered(tmp_path / "first", tmp_path / "asked", wrong | {"2": True, "3": True}),
        answered(tmp_path / "second", tmp_path / "asked", wrong | {"3": True}),
    ]
    inputs = {"solver_rows": [tmp_path / "solver_rows", tmp_path / "asked"], "scores": scores}
    curated(tmp_path / "curated", pool, Selection(Strategy.LONGEST, 2), **inputs)
    assert [each.id for each in read_rows(tmp_path / "curated" / ROWS, Example)] == ["0004", "0005"]
    assert told(tmp_path / "curated")[2:] == [
        (
            "difficult",
            3,
            {
                "no reference that the grader can read": 1,
                "too easy: solved by solver 0": 1,
                "too easy: solved by solver 0 and solver 1": 1,
            },
        ),
        ("selected", 2, {"not drawn": 1}),
    ]


def test_the_seed_set_holds_only_rows_whose_trace_gives_the_right_answer(tmp_path: Path) -> None:
    rows = [
        row(1, source=AIME),
        row(2, source=AIME, answer="Final Answer: 0"),
        row(3, source="math"),  # 4 tokens: not long
        row(4, source="math"),
        *(row(n, source="other") for n in range(5, 50)),
    ]
    seed_set = SeedSet(sources=[AIME], long_sources={"math": 4})
    selection = Selection(Strategy.DIVERSE, 5, seed_set=seed_set)
    summary = curated(tmp_path / "curated", pool_directory(tmp_path / "pool", rows), selection)
    chosen = {each.id for each in read_rows(tmp_path / "curated" / ROWS, Example)}
    assert summary["seeds"] == 2
    assert {"0001", "0004"} <= chosen


@pytest.mark.parametrize("strategy", [Strategy.RANDOM, Strategy.DIVERSE])
def test_the_order_of_the_file_changes_no_byte_of_the_output(tmp_path: Path, strategy: Strategy) -> None:
    rows = [row(n, domain=f"domain {n % 3}") for n in range(30)]
    for name, ordered in (("forth", rows), ("back", rows[::-1])):
        pool = pool_directory(tmp_path / name / "pool", ordered)
        curated(tmp_path / name / "curated", pool, Selection(strategy, 10))
    for file in (ROWS, "selection.jsonl", "funnel.json"):
        first, second = ((tmp_path / name / "curated" / file).read_bytes() for name in ("forth", "back"))
        assert first == second, file


def test_solver_rows_without_a_gradable_question_are_refused(tmp_path: Path) -> None:
    pool = pool_directory(tmp_path / "pool", [row(1, solution="a half"), row(2, solution=None)])
    with pytest.raises(ConfigError, match=r"data.grader integer: it cannot read the reference of any of 2 rows"):
        solver_rows(order(tmp_path / "solver_rows", SolverRowsConfig(GraderKind.INTEGER), rows=pool))


def test_a_pool_of_which_cleaning_leaves_nothing_is_refused_with_the_reasons(tmp_path: Path) -> None:
    rows = [row(1, thinking=None), row(2, answer=None)]
    with pytest.raises(ConfigError) as error:
        cleaned(tmp_path, rows)
    assert str(error.value) == (
        "data step complete: keeps none of 2 rows (1 no answer of the teacher, 1 no reasoning trace)."
        " Loosen it, or choose another pool."
    )


def test_the_funnel_is_plain_json(tmp_path: Path) -> None:
    directory = cleaned(tmp_path, [row(1), row(2, thinking=None)])
    steps = json.loads((directory / "funnel.json").read_text(encoding="utf-8"))
    assert steps[2] == {
        "name": "complete",
        "kept": 1,
        "dropped": {"no reasoning trace": 1},
        "examples": [{"id": "0002", "reason": "no reasoning trace", "question": "What is 2 and one more?"}],
    }
