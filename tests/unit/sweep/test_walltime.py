"""Walltime limits follow from estimates, and never exceed what a partition allows."""

from __future__ import annotations

import pytest

from sweep.core.launch import JobSettings, Launch
from sweep.core.pipeline import CostEstimate
from sweep.core.stage import Resources
from sweep.slurm.jobs import Element, SlurmJob
from sweep.slurm.preflight_jobs import preflight_jobs
from sweep.slurm.site_answers import Partition, parse_minutes
from sweep.slurm.walltime import limit_minutes, longest_minutes, with_walltimes
from sweep.slurm.waves import packed
from tests.support.toy_queue import make_stage

PARTITIONS = (Partition("short", minutes=60), Partition("long", is_default=True, minutes=2880), Partition("free"))


def sft(*steps: tuple[str, ...], minutes: int | None = None) -> SlurmJob:
    resources = Resources("sft", nodes=2, devices=8, processes=8, minutes=minutes)
    return SlurmJob("01-checkpoint", resources, tuple(Element((step,), ()) for step in steps))


@pytest.mark.parametrize(
    ("seconds", "longest", "minutes"),
    [
        (0.0, None, 30),
        (600.0, None, 30),
        (601.0, None, 40),
        (26 * 60.0, None, 70),  # 2 x 26 + 10, rounded up
        (26 * 60.0, 60, 60),
        (None, None, 1440),
        (None, 720, 720),
    ],
)
def test_a_limit_is_the_estimate_with_margin_and_load_time(
    seconds: float | None, longest: int | None, minutes: int
) -> None:
    assert limit_minutes(seconds, Launch(), longest) == minutes


@pytest.mark.parametrize(
    ("settings", "minutes"),
    [
        (JobSettings(), 2880),
        (JobSettings(partition="short"), 60),
        (JobSettings(partition="long,short"), 60),
        (JobSettings(partition="free"), None),
        (JobSettings(partition="unheard"), None),
        (JobSettings(partition="free", minutes_limit=90), 90),
        (JobSettings(minutes_limit=90), 90),
    ],
)
def test_the_longest_limit_is_that_of_the_partition_or_of_the_settings(
    settings: JobSettings, minutes: int | None
) -> None:
    assert longest_minutes(settings, PARTITIONS) == minutes


def test_the_longest_element_counts() -> None:
    seconds = {"a/1": 3600.0, "b/1": 1800.0, "c/1": 0.0}
    estimates = {address: CostEstimate(10, 16 * each, wall_seconds=each) for address, each in seconds.items()}
    (job,) = with_walltimes([sft(("a/1",), ("a/1", "b/1", "c/1"))], estimates, Launch(), lambda: PARTITIONS)
    assert job.resources.minutes == 2 * 90 + 10


@pytest.mark.parametrize(("longest", "minutes"), [(None, 2 * 8 * 60 + 10), (600, 600)])
def test_a_packed_element_has_time_for_all_its_units_up_to_the_longest_limit(longest: int | None, minutes: int) -> None:
    units = tuple(f"a/{n}" for n in range(16))
    estimates = {unit: CostEstimate(10, 16 * 3600.0, wall_seconds=3600.0) for unit in units}
    (job,) = packed([sft(*((unit,) for unit in units))], 2, 1001)
    (found,) = with_walltimes([job], estimates, Launch(), lambda: [Partition("main", is_default=True, minutes=longest)])
    assert [len(each.stages) for each in job.elements] == [8, 8] and found.resources.minutes == minutes


@pytest.mark.parametrize("estimate", [None, CostEstimate(tokens=10, wall_seconds=None)])
def test_a_job_of_unknown_time_gets_a_day(estimate: CostEstimate | None) -> None:
    estimates = {"a/1": CostEstimate(10, 60.0, wall_seconds=60.0), **({"b/1": estimate} if estimate else {})}
    (job,) = with_walltimes([sft(("a/1", "b/1"))], estimates, Launch(), lambda: ())
    assert job.resources.minutes == 1440


def test_a_limit_that_is_set_stays() -> None:
    launch = Launch(sft=JobSettings(minutes=77))
    assert with_walltimes([sft(("a/1",))], {}, launch, lambda: PARTITIONS) == (sft(("a/1",)),)
    mine = sft(("a/1",), minutes=5)
    assert with_walltimes([mine], {}, Launch(), lambda: PARTITIONS) == (mine,)


@pytest.mark.parametrize(
    "defaults", [JobSettings(partition="short"), JobSettings(minutes_limit=60), JobSettings("short", minutes_limit=90)]
)
def test_a_limit_that_is_set_is_lowered_to_the_longest_that_may_be_requested(defaults: JobSettings) -> None:
    """A job that asks for more would wait for ever, and one that reaches its limit continues."""
    launch = Launch(defaults=defaults, sft=JobSettings(minutes=120))
    for job in (sft(("a/1",)), sft(("a/1",), minutes=90)):
        (found,) = with_walltimes([job], {}, launch, lambda: PARTITIONS)
        assert found.resources.minutes == 60


@pytest.mark.parametrize(("allowed", "minutes"), [(10, 10), (600, 26), (None, 26)])
def test_a_check_of_the_nodes_asks_for_no_more_than_its_partition_allows(allowed: int | None, minutes: int) -> None:
    partition = Partition("main", is_default=True, minutes=allowed)
    (job,) = preflight_jobs([make_stage("total", 1)], Launch(), lambda: [partition])
    assert job.resources.minutes == minutes


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("7-00:00:00", 10080),
        ("1-12", 2160),
        ("02:30:00", 150),
        ("30:59", 30),
        ("45", 45),
        ("UNLIMITED", None),
        ("", None),
        ("soon", None),
    ],
)
def test_limits_are_read_in_all_forms_of_slurm(text: str, minutes: int | None) -> None:
    assert parse_minutes(text) == minutes
