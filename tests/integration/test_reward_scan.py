"""A scan with a reward model that it trains, as a user runs it: it scores the answers, and steers REBASE."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from s1.records import RewardRow, ScoreRow, read_rows
from tests.support.smoke import User

pytestmark = pytest.mark.slow

REWARD = (
    "reward=laptop_prm",
    "reward.training.examples=48",
    "reward.training.held_out=12",
    "reward.training.train.steps=6",
    "reward.training.train.batch_size=8",
)
POINTS = (
    "budget=rebase",
    "budget.rebase.width=2",
    "budget.max_thinking_tokens=null",
    "generate=sampled",
    "generate.samples=1",
    "task.problems=4",
    "also=[]",
)


def summary(user: User, stage: str) -> dict[str, Any]:
    (path,) = (user.store / stage).glob("*/record.json")
    return json.loads(path.read_text(encoding="utf-8"))["summary"]


def test_a_reward_model_is_trained_scores_every_answer_and_steers_a_search(tmp_path: Path) -> None:
    user = User(tmp_path)
    done = user.run(*REWARD, *POINTS)
    assert done.returncode == 0, done.stdout + done.stderr
    trained = summary(user, "reward_model")
    assert (trained["steps"], trained["examples"], trained["held_out"]) == (6, 48, 12)
    assert 0 < trained["step_auc"] < 1
    rows = user.answers("REBASE 2")
    assert all(row.branches is not None and row.branches >= 2 for row in rows)
    (rewards,), (scores,) = ((user.store / name).glob("*/out") for name in ("rewards", "scores"))
    given = {row.question_id: row.score for row in read_rows(rewards / "rewards.jsonl", RewardRow)}
    assert {row.question_id: row.reward for row in read_rows(scores / "scores.jsonl", ScoreRow)} == given
    assert len(set(given.values())) > 1
