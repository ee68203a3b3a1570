"""Limits and questions about money, as pure functions; with workers in tests/integration/test_limits.py."""

from __future__ import annotations

import io
from contextlib import nullcontext
from dataclasses import replace

import pytest

from sweep.cli.spending import ask_before_spending, question
from sweep.console import Console
from sweep.core.launch import LaunchKind
from sweep.core.pipeline import CostEstimate, Launch
from sweep.core.spending import Limits, Spending, refusal, stop, unchecked_line
from sweep.core.stage import Resources
from sweep.errors import InputError
from tests.support.spenders import graph, spent_stage

ENGINE = CostEstimate(tokens=1000, device_seconds=3600, usd=2.9)
TEACHER = CostEstimate(tokens=1000, usd=0.31)


def test_a_reached_limit_says_what_was_spent_and_how_to_continue() -> None:
    limits = Limits(usd=5, device_hours=2)
    assert stop(limits, Spending(4.9, 7199)) is None
    assert stop(limits, Spending(5.02, 7199)) == (
        "stopped by cost.limit_usd: spent 5.02 USD of 5.00 USD. What is finished is kept. To continue, run the same"
        " command with a higher cost.limit_usd."
    )
    assert stop(limits, Spending(1, 7200)) == (
        "stopped by cost.limit_device_hours: spent 2.00 device-hours of 2.00 device-hours. What is finished is kept."
        " To continue, run the same command with a higher cost.limit_device_hours."
    )


def test_a_stage_without_room_is_named_with_its_estimate() -> None:
    assert stop(Limits(usd=5), Spending(4.9), Spending(0.25), "traces/3f9c") == (
        "stopped by cost.limit_usd: spent 4.90 USD of 5.00 USD, and traces/3f9c is estimated at 0.2500 USD more."
        " What is finished is kept. To continue, run the same command with a higher cost.limit_usd."
    )
    assert stop(Limits(usd=5), Spending(4.75), Spending(0.25), "traces/3f9c") is None


def test_a_plan_is_refused_with_what_was_spent_already() -> None:
    assert refusal(Limits(usd=5), Spending(1.2), Spending(4)) == (
        "cost.limit_usd 5: this is estimated at 4.00 USD, and 1.20 USD are spent already. Raise the limit, or ask for"
        " fewer points, questions or tokens."
    )
    assert refusal(Limits(usd=5), Spending(15.31), Spending(0.0196), Spending(15.31)) == (
        "cost.limit_usd 5: this is estimated at 0.0196 USD, of which earlier attempts have used 0.0196 USD, and 15.31"
        " USD are spent already. Raise the limit, or ask for fewer points, questions or tokens."
    )
    assert refusal(Limits(usd=5), Spending(2), Spending(4), Spending(1.5)) is None
    assert refusal(Limits(usd=5), Spending(6), Spending(0)) is not None
    assert refusal(Limits(), Spending(1e9), Spending(1e9)) is None


def test_an_unknown_cost_is_limited_while_it_runs() -> None:
    assert unchecked_line(Limits(usd=5), ["traces/3f9c", "traces/77aa"]) == (
        "cost.limit_usd: the cost of traces/3f9c and 1 more is unknown, so the limit is checked only while it runs."
    )
    assert unchecked_line(Limits(), ["traces/3f9c"]) is None and unchecked_line(Limits(usd=5), []) is None


def test_a_price_above_the_threshold_and_any_paid_reply_are_asked_about() -> None:
    assert question([ENGINE], above_usd=100) is None
    assert question([ENGINE], above_usd=2) == "2.90 USD estimated, above launch.ask_above_usd 2"
    assert question([ENGINE, TEACHER], above_usd=100) == (
        "3.21 USD estimated, 0.3100 USD of it for replies of paid models"
    )
    assert question([CostEstimate(), CostEstimate(10, 0.0, 0.0)], above_usd=0) is None


def test_an_unknown_price_is_asked_about_beside_what_is_known() -> None:
    unknown = CostEstimate(None, None, None)
    assert question([unknown], above_usd=100) is None, "of this machine's CPU"
    assert question([unknown], 100, "stages on GPUs") == "an unknown price for stages on GPUs"
    assert question([unknown, ENGINE, replace(TEACHER, usd=None)], 2, "jobs on SLURM") == (
        "2.90 USD estimated, above launch.ask_above_usd 2, and an unknown price for jobs on SLURM and replies of paid"
        " models"
    )
    assert question([TEACHER, replace(TEACHER, usd=None)], 100) == (
        "0.3100 USD estimated, 0.3100 USD of it for replies of paid models, and an unknown price for further replies of"
        " paid models"
    )


@pytest.mark.parametrize(
    ("devices", "launch", "asked"),
    [
        (0, Launch(), None),
        (1, Launch(), "an unknown price for stages on GPUs"),
        (0, Launch(LaunchKind.SLURM), "an unknown price for jobs on SLURM"),
        (8, Launch(LaunchKind.SLURM), "an unknown price for stages on GPUs"),
    ],
)
def test_gpus_and_slurm_jobs_of_unknown_price_need_consent(
    monkeypatch: pytest.MonkeyPatch, devices: int, launch: Launch, asked: str | None
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    stage = replace(spent_stage(1), resources=Resources("generate", devices=devices))
    unpriced = replace(graph([stage], Limits()), estimates={stage.address: CostEstimate(usd=None, device_seconds=None)})
    with pytest.raises(InputError, match=f"cost: {asked}. Add yes=true") if asked else nullcontext():
        ask_before_spending(Console(), replace(unpriced, launch=launch), [stage], yes=False)


def test_without_a_terminal_nothing_is_spent_unless_yes_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    stages = [spent_stage(1)]
    priced = graph(stages, Limits(), usd=101)
    with pytest.raises(ValueError, match=r"101.00 USD estimated, above launch.ask_above_usd 100\. Add yes=true"):
        ask_before_spending(Console(), priced, stages, yes=False)
    ask_before_spending(Console(), priced, stages, yes=True)
    assert Launch().ask_above_usd == 100
