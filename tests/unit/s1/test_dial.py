"""Dial problems: what is asked, how it is reasoned about, and what training may never see."""

import re
from itertools import islice
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s1.config.data import Pool, PoolKind
from s1.config.schema import DIAL_PEOPLE, ConfigError, Dial
from s1.data.pool import dial_rows, pool_rows
from s1.dial import NAMES, Family, Problem
from s1.evaluate.problems import dial_problems
from s1.records import PoolRow, read_objects, read_rows
from s1.stages import PoolConfig, ProblemsConfig
from sweep.core.stage import Work
from sweep.core.typed import typed
from sweep.errors import InputError
from tests.support.known import known

FAMILY = Family(Dial())
SEEDS = st.integers(0, 2**32)


def work(config, out: Path) -> Work:
    return Work("key", config, {}, out, out, out, {}, lambda done, total, unit: None)


def pool(dial: Dial | None = None, seed: int = 0) -> Pool:
    return Pool("dial", PoolKind.DIAL, 200, dial=dial or Dial(), seed=seed)


def position_after(question: str, positions: int) -> int:
    start, *turns = [int(number) for number in re.findall(r"\d+", question)]
    return (start + sum(turns)) % positions


def test_a_reasoned_example_reads_as_documented(golden):
    texts = [f"{each.question}\n{each.thinking}\n-> {each.answer}\n" for each in islice(dial_rows(pool()), 12)]
    golden("data/dial.txt", "\n".join(texts))


def test_training_keeps_only_traces_whose_answer_is_right():
    for each in islice(dial_rows(pool()), 300):
        right = position_after(each.question, 20)
        assert each.answer == f"Final Answer: {right}"
        assert known(each.thinking).endswith(f"So {right}.")
        assert each.solution == str(right)


def test_some_kept_traces_slipped_and_were_repaired_by_a_recheck():
    thinkings = [known(each.thinking).split("\n") for each in islice(dial_rows(pool()), 300)]
    repaired = [passes for passes in thinkings if passes[0].rpartition(" So ")[2] != passes[-1].rpartition(" So ")[2]]
    assert len(repaired) > 20


def test_every_pass_after_the_first_begins_with_wait_on_its_own_line():
    for each in islice(dial_rows(pool()), 100):
        first, *rest = known(each.thinking).split("\n")
        assert first.startswith("Dial @")
        assert all(line.startswith("Wait, check ") for line in rest)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_no_evaluation_question_can_occur_in_training(seed):
    training = {each.question for each in islice(FAMILY.training_problems(Random(seed)), 300)}
    evaluation = {each.question for each in islice(FAMILY.held_out_problems(Random(seed)), 300)}
    assert len(evaluation) == 300
    assert not training & evaluation


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_training_never_shows_a_fact_of_the_gap(seed):
    for problem in islice(FAMILY.training_problems(Random(seed)), 100):
        facts = set()
        position = problem.start
        for turn in problem.turns:
            facts.add((position, turn))
            position = (position + turn) % 20
        assert not facts & FAMILY.gap


def test_evaluation_meets_the_gap_as_often_as_chance_has_it():
    drawn = list(islice(FAMILY.held_out_problems(Random(0)), 2000))
    expected = 1 - sum((1 - 0.25 * 4 / 9) ** turns for turns in range(2, 7)) / 5
    assert abs(sum(map(FAMILY.touches_gap, drawn)) / 2000 - expected) < 0.04


def test_a_quick_turn_over_the_gap_is_a_guess_and_a_careful_one_is_right():
    position, turn = min(FAMILY.gap)
    problem = Problem(position, (turn, 1))
    sure = Family(Dial(slip_probability=0.0, wait_probability=1.0, waits_max=1))
    quick, careful = zip(*(sure.reason(problem, Random(seed)).thinking.split("\n") for seed in range(100)), strict=True)
    ending = f"So {FAMILY.truth(problem)}."
    assert sum(line.endswith(ending) for line in quick) < 20
    assert all(line.endswith(ending) for line in careful)


def test_questions_and_traces_are_made_of_the_pieces_of_their_family_alone():
    small = Dial(positions=7, turn_max=4, turns_min=1, turns_max=3, practised_turn_max=2)
    for dial in (Dial(), small):
        pieces = set(Family(dial).pieces())
        for each in islice(dial_rows(pool(dial)), 200):
            for text in (each.question, each.thinking):
                assert set(re.findall(r" ?(?:[A-Za-z]+|[+@]?\d+|[^\w\s])|\n", known(text))) <= pieces


def test_the_stages_write_rows_that_depend_on_the_seed_alone(tmp_path):
    made = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        assert pool_rows(work(PoolConfig(pool(seed=seed)), tmp_path / name))["rows"] == 200
        made[name] = read_rows(tmp_path / name / "rows.jsonl", PoolRow)
    assert made["a"] == made["b"] != made["c"]
    assert len({each.id for each in made["a"]}) == 200


def test_evaluation_rows_carry_the_columns_of_a_task(tmp_path):
    summary = dial_problems(work(ProblemsConfig(Dial(), 50, seed=3), tmp_path))
    rows = list(read_objects(tmp_path / "rows.jsonl"))
    assert summary["problems"] == len(rows) == 50
    assert {tuple(row) for row in rows} == {("id", "problem", "answer")}
    assert all(int(row["answer"]) == position_after(row["problem"], 20) for row in rows)


def test_more_problems_than_a_family_can_hold_out_are_refused(tmp_path):
    dial = Dial(turns_min=1, turns_max=1)
    with pytest.raises(ConfigError, match=r"task\.problems 100: above 22, an eighth of the family's 180 questions"):
        dial_problems(work(ProblemsConfig(dial, 100, seed=0), tmp_path))


def test_there_is_a_name_for_everyone():
    assert len(set(NAMES)) == DIAL_PEOPLE


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"turns_min": 4, "turns_max": 3}, "turns_min 4"),
        ({"turns_max": 13}, "turns_max 13"),
        ({"turn_max": 9, "practised_turn_max": 4}, "practised_turn_max 4"),
        ({"gap_share": 1.5}, "gap_share 1.5"),
    ],
)
def test_a_family_that_cannot_be_reasoned_about_is_refused(changes, named):
    with pytest.raises(InputError, match=named):
        typed(Dial, changes)
