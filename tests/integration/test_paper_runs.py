"""Tables and figures of the paper run on the laptop at their smallest size, in one store, as a user runs them.

S1_PAPER=all runs all twelve, in about eight minutes; otherwise four run, which have every kind of stage except the
training sets of the others.

Their numbers mean nothing. What is tested: every experiment ends in a report, beside the paper where it has numbers;
experiments share their stages; and a reward model is trained, scores every answer, and steers a search.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from s1.records import RewardRow, ScoreRow, TraceRow, read_rows
from tests.support.made_once import made_once
from tests.support.smoke import User

pytestmark = pytest.mark.slow

TINY = (  # an untrained model thinks to the end of the context
    *("train.steps=2", "model.context_tokens=320"),
    *("statistics.resamples=100", "track.wandb=false"),
)
FEW = ("data.pool.rows=24",)
BASE = ("model=laptop_base", "model.pretraining.examples=24", "model.pretraining.train.steps=2")
SEARCH = (  # in the place of the experiment's own lines: the fields of a reward model belong to the point that has one
    "paper=null",
    "also=['generate=sampled generate.samples=1 budget=rebase budget.rebase.width=2 reward=laptop_prm"
    " reward.training.examples=48 reward.training.held_out=12 reward.training.train.steps=6',"
    "'generate=sampled generate.samples=4 budget=majority_vote budget.votes=2,4']",
)
SETS = (  # without dial_s1k, whose solver would answer the whole pool
    *("data=dial_random,dial_full", "data.pool.rows=1100"),
    *("compare.reference=dial_random", "paper=null"),
)
RUNS = {  # what makes each experiment small
    "fig1_scaling": FEW,
    "fig7_rebase": (*FEW, *SEARCH),
    "raspberry": FEW,
    "table4_wait_strings": FEW,
}
MORE = {
    "fig4b_parallel": BASE,
    "fig6_rejection": (*FEW, "budget.tries=3"),
    "table1_main": BASE,
    "table2_data_ablation": (*BASE, *SETS),
    "table3_control": FEW,
    "table5_s1_1": FEW,
    "table8_train_length": (*FEW, *BASE),
    "tables11_13_conditional": FEW,
}

RUNS |= MORE if os.environ.get("S1_PAPER") == "all" else {}


def run_all(place: Path) -> None:
    for name, small in RUNS.items():
        problems = [] if name == "raspberry" else ["task.problems=3"]  # it has one of its own
        done = User(place, f"paper/{name}").run(*TINY, *small, *problems)
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "paper", run_all)


def result(place: Path, name: str) -> Path:
    return (place / "results" / name / "latest").resolve()


def stages(place: Path, name: str) -> dict[str, dict[str, Any]]:
    return json.loads((result(place, name) / "manifest.json").read_text(encoding="utf-8"))["stages"]


@pytest.mark.parametrize("name", RUNS)
def test_an_experiment_of_the_paper_ends_in_a_report_beside_the_paper(place: Path, name: str) -> None:
    text = (result(place, name) / "README.md").read_text(encoding="utf-8")
    has_numbers = "paper=null" not in RUNS[name] and name != "raspberry"
    assert ("## Beside the paper" in text, (result(place, name) / "paper.csv").exists()) == (has_numbers, has_numbers)
    assert ("Only the direction is compared where" in text) == has_numbers
    assert ("## The traces" in text) == (name == "raspberry")


def test_experiments_share_checkpoints_and_traces(place: Path) -> None:
    wait, scaling = stages(place, "table4_wait_strings"), stages(place, "fig1_scaling")
    assert {each for each in wait if each.startswith("checkpoint/")} <= set(scaling)
    assert len({each for each in wait if each.startswith("traces/")} & set(scaling)) == 2  # natural end, Wait x2


def test_a_reward_model_is_trained_scores_every_answer_and_steers_a_search(place: Path) -> None:
    made = stages(place, "fig7_rebase")
    (trained,) = (stage["summary"] for each, stage in made.items() if each.startswith("reward_model/"))
    assert (trained["steps"], trained["examples"], trained["held_out"]) == (6, 48, 12)
    assert 0 < trained["step_auc"] < 1
    (rewards,) = (place / "store" / each / "out" for each in made if each.startswith("rewards/"))
    given = {row.question_id: row.score for row in read_rows(rewards / "rewards.jsonl", RewardRow)}
    assert len(set(given.values())) > 1
    scored = [
        read_rows(place / "store" / each / "out" / "scores.jsonl", ScoreRow) for each in made if "scores/" in each
    ]
    assert {row.question_id: row.reward for rows in scored for row in rows if row.reward is not None} == given
    traces = [
        read_rows(place / "store" / each / "out" / "traces.jsonl", TraceRow) for each in made if "traces/" in each
    ]
    assert all(row.branches >= 2 for rows in traces for row in rows if row.branches is not None)
    assert any(row.branches is not None for rows in traces for row in rows)
