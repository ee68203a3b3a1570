"""Waves and packing, decided from jobs, their states and the room in the queue."""

from __future__ import annotations

import dataclasses

import pytest

from sweep.core.stage import Resources
from sweep.errors import InputError
from sweep.slurm.jobs import Element, SlurmJob, link_jobs
from sweep.slurm.retry import is_queue_limit
from sweep.slurm.status import ElementState, ElementStatus, SlurmInfo, Verdict, verdict
from sweep.slurm.waves import (
    LEAST_LIMIT,
    Room,
    cut_off_by,
    later_line,
    next_wave,
    packed,
    refuse_small_limit,
    resubmission,
    with_cut_off,
    with_jobs,
    with_later_waves,
)

CPU = Resources()
BY_USER = SlurmInfo("CANCELLED", cancelled_by="1000")


def points_and_total(points: int) -> tuple[SlurmJob, ...]:
    elements = tuple(Element(((f"points/{n}",),), ()) for n in range(points))
    total = Element((("total/0",),), tuple(f"points/{n}" for n in range(points)))
    return link_jobs([SlurmJob("01-points", CPU, elements), SlurmJob("02-total", CPU, (total,))])


def two_layers(points: int) -> tuple[SlurmJob, ...]:
    first = tuple(Element(((f"a/{n}",),), ()) for n in range(points))
    second = tuple(Element(((f"b/{n}",),), (f"a/{n}",)) for n in range(points))
    return link_jobs([SlurmJob("01-a", CPU, first), SlurmJob("02-b", CPU, second)])


def sizes(jobs: tuple[SlurmJob, ...]) -> dict[str, int]:
    return {job.name: len(job.elements) for job in jobs}


def status(now: list[ElementStatus], address: str, state: ElementState) -> list[ElementStatus]:
    return [
        ElementStatus(each.job, each.index, each.element, "7", state, None) if address in each.element.stages else each
        for each in now
    ]


def test_a_plan_within_the_limit_is_left_as_it_is() -> None:
    jobs = points_and_total(49)
    assert packed(jobs, 50, 1001) == jobs
    assert packed(jobs, None, 1001) == jobs


def test_a_long_array_runs_several_units_per_element_and_no_array_exceeds_the_longest() -> None:
    jobs = packed(points_and_total(1000), 50, 100)
    assert sizes(jobs) == {"01-points": 100, "02-points": 25, "03-total": 1}
    assert jobs[2].after == ("01-points", "02-points")
    first = jobs[0].elements[0]
    assert first.steps == tuple(step for n in range(8) for step in ((f"points/{n}",), ()))[:-1]
    assert first.stages == tuple(f"points/{n}" for n in range(8))
    made = [address for job in jobs for each in job.elements for address in each.stages]
    assert len(made) == len(set(made)) == 1001


def test_arrays_that_correspond_one_to_one_still_do_when_packed() -> None:
    jobs = packed(two_layers(1000), 50, 1001)
    assert jobs[1].after_each == ("01-a",) and not jobs[1].after


def test_a_wave_fills_the_queue_but_for_the_job_that_sends_the_next_one() -> None:
    jobs = points_and_total(100)
    wave = next_wave(jobs, with_jobs((), jobs), (), Room(50, 50, is_idle=True, may_wait=True), 1001)
    assert sizes(wave.jobs) == {"01-points.r2": 49} and wave.left == 52


def test_everything_is_sent_at_once_if_it_fits() -> None:
    jobs = points_and_total(10)
    wave = next_wave(jobs, with_jobs((), jobs), (), Room(11, 50, is_idle=True, may_wait=True), 1001)
    assert wave.jobs == jobs and wave.left == 0


def test_waves_send_each_element_once_and_its_inputs_first() -> None:
    jobs, limit = two_layers(100), 30
    now, done, sent = with_jobs((), jobs), set[str](), list[str]()
    for _ in range(20):
        wave = next_wave(jobs, now, done, Room(limit, limit, is_idle=True), 1001)
        if not wave.jobs:
            break
        made = set[str]()
        for job in wave.jobs:
            for each in job.elements:
                assert set(each.waits_for) <= done | made
                made.update(each.stages)
                sent += each.stages
        assert sum(len(job.elements) for job in wave.jobs) < limit or not wave.left
        jobs = (*jobs, *(job for job in wave.jobs if job not in jobs))
        now = with_jobs(now, wave.jobs, {job.name: "7" for job in wave.jobs})
        done |= made
    assert len(sent) == len(set(sent)) == 200 and len({job.name for job in jobs}) == len(jobs)


def test_a_small_gap_is_not_filled_while_others_run() -> None:
    """One sbatch call for each element that ends would be many."""
    jobs = points_and_total(100)
    now = with_jobs((), jobs)
    assert not next_wave(jobs, now, (), Room(12, 50), 1001).jobs
    assert sizes(next_wave(jobs, now, (), Room(13, 50), 1001).jobs) == {"01-points.r2": 12}
    assert sizes(next_wave(jobs, now, (), Room(3, 50, is_idle=True), 1001).jobs) == {"01-points.r2": 2}
    assert not next_wave(jobs, now, (), Room(0, 50, is_idle=True), 1001).jobs


def test_an_element_of_a_later_wave_waits_outside_the_queue_for_its_inputs() -> None:
    jobs = two_layers(2)
    now = with_jobs(with_jobs((), jobs), jobs[:1], {"01-a": "7"})
    assert not next_wave(jobs, now, (), Room(None), 1001).jobs
    assert sizes(next_wave(jobs, now, {"a/1"}, Room(None), 1001).jobs) == {"02-b.r2": 1}


@pytest.mark.parametrize("state", [ElementState.FAILED, ElementState.CANCELLED, ElementState.LOST])
def test_what_a_failure_blocks_is_not_sent_by_jobs(state: ElementState) -> None:
    jobs = two_layers(2)
    now = status(with_jobs((), jobs), "a/0", state)
    now = status(now, "a/1", ElementState.DONE)
    wave = next_wave(jobs, now, {"a/1"}, Room(None), 1001)
    assert [each.stages for job in wave.jobs for each in job.elements] == [("b/1",)]


def test_what_slurm_cancelled_is_sent_again_when_its_inputs_are_there() -> None:
    """The job before it was interrupted, and another one has finished it."""
    jobs = two_layers(2)
    now = status(with_jobs((), jobs), "b/0", ElementState.BLOCKED)
    done = {"a/0", "a/1", "b/1"}
    for address in done:
        now = status(now, address, ElementState.DONE)
    assert sizes(next_wave(jobs, now, done, Room(None), 1001).jobs) == {"02-b.r2": 1}


def test_what_waits_for_an_interrupted_job_is_sent_again_unless_a_user_cancelled_it() -> None:
    """SLURM cancels what waits for it, and what waits for that; another job makes the stages of the interrupted one."""
    jobs = two_layers(3)
    now = with_jobs((), jobs, {job.name: "7" for job in jobs})
    now = status(now, "a/0", ElementState.RUNNING)
    cut_off = cut_off_by(["a/0"], now)
    assert cut_off == ["02-b_0"]
    ended = status(now, "b/0", ElementState.LOST)  # without accounting, when SLURM has forgotten it
    assert [each.state for each in with_cut_off(ended, cut_off)][3] is ElementState.BLOCKED
    by_user = [dataclasses.replace(each, state=ElementState.CANCELLED, seen=BY_USER) for each in now]
    assert with_cut_off(by_user, cut_off) == by_user


def test_resume_keeps_the_names_of_jobs_that_were_never_sent() -> None:
    jobs = two_layers(2)
    now = with_jobs(with_jobs((), jobs), jobs[:1], {"01-a": "7"})
    now = status(now, "a/0", ElementState.FAILED)
    assert sizes(resubmission(jobs, now, 1001)) == {"01-a.r2": 1, "02-b": 2}
    again = (*jobs, *resubmission(jobs, now, 1001)[:1])
    assert sizes(resubmission(again, status(with_jobs(now, again[2:]), "a/0", ElementState.FAILED), 1001)) == {
        "01-a.r3": 1,
        "02-b": 2,
    }


def test_what_jobs_will_submit_is_in_a_later_wave_and_what_needs_a_failed_stage_is_not() -> None:
    jobs = two_layers(3)
    now = status(status(with_jobs((), jobs), "a/0", ElementState.FAILED), "a/1", ElementState.RUNNING)
    states = {each.element.stages[0]: each.state for each in with_later_waves(now, set())}
    assert states == {
        "a/0": ElementState.FAILED,
        "a/1": ElementState.RUNNING,
        "a/2": ElementState.LATER,
        "b/0": ElementState.UNSENT,
        "b/1": ElementState.LATER,
        "b/2": ElementState.LATER,
    }
    assert verdict([ElementState.DONE, ElementState.LATER]) is Verdict.RUNNING
    assert verdict(list(states.values())) is Verdict.FAILED


def test_while_slurm_does_not_answer_it_is_unknown_whether_a_later_wave_will_be_sent() -> None:
    jobs = two_layers(2)
    now = status(status(with_jobs((), jobs), "a/0", ElementState.UNKNOWN), "a/1", ElementState.DONE)
    found = {each.state for each in with_later_waves(now, {"a/1"}, ElementState.UNKNOWN)}
    assert found == {ElementState.UNKNOWN, ElementState.DONE} and verdict(found) is Verdict.UNKNOWN


def test_a_limit_in_which_waves_never_go_on_is_refused_with_the_least_that_works() -> None:
    refuse_small_limit(100, LEAST_LIMIT, is_set=True)
    refuse_small_limit(2, 2, is_set=True)  # everything fits
    with pytest.raises(InputError, match=r"launch.max_submit_jobs 2: too small .* Set it to 3 or more"):
        refuse_small_limit(3, 2, is_set=True)
    with pytest.raises(InputError, match=r"limit of your submitted jobs 1: .* Ask for a higher one"):
        refuse_small_limit(3, 1, is_set=False)


def test_the_line_about_later_waves_says_when_jobs_look_again() -> None:
    assert later_line(1, None) == "1 element in a later wave: jobs of the submission submit it."
    assert later_line(7, 3, "14:05") == (
        "7 elements in a later wave (at most 3 jobs at a time): jobs of the submission submit them. The queue is full;"
        " the next look is at 14:05."
    )


@pytest.mark.parametrize(
    ("message", "is_limit"),
    [
        ("error: AssocMaxSubmitJobLimit error: Batch job submission failed: Job violates accounting/QOS policy", True),
        ("error: QOSMaxSubmitJobPerUserLimit error: Batch job submission failed: Job violates policy", True),
        ("Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or", True),
        ("error: QOSMaxWallDurationPerJobLimit error: Job violates accounting/QOS policy (job submit limit)", False),
        ("error: AssocMaxCpuPerJobLimit error: Job violates accounting/QOS policy (job submit limit, ...)", False),
        ("Batch job submission failed: Invalid job array specification", True),
        ("Batch job submission failed: Invalid partition name specified", False),
    ],
)
def test_limits_of_the_queue_are_told_from_limits_of_the_job(message: str, is_limit: bool) -> None:
    assert is_queue_limit(message) is is_limit
