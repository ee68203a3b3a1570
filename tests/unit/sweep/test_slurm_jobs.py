"""From a plan to the jobs of a queue: few jobs, each with exactly the dependencies it needs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.core.stage import CodePolicy, Resources, Stage
from sweep.plan.graph import plan
from sweep.slurm.jobs import SlurmJob, plan_jobs
from sweep.slurm.sbatch import dependency_of
from sweep.slurm.status import (
    ElementState,
    SlurmInfo,
    StoreInfo,
    active_dependencies,
    element_statuses,
    expand_elements,
    latest_statuses,
)
from sweep.slurm.waves import resubmission

GPU = Resources(script="generate", devices=1)


def stage(name: str, *inputs: Stage, number: int = 0, resources: Resources = GPU) -> Stage:
    return Stage(
        name,
        1,
        {"number": number},
        "a:b",
        {"of": inputs} if inputs else {},
        resources=resources,
        code=CodePolicy.EXPENSIVE,
    )


def jobs_of(*targets: Stage, most: int = 1001, done: tuple[Stage, ...] = ()) -> tuple[SlurmJob, ...]:
    return plan_jobs(plan(targets, lambda each: each in done).units, most)


def scan(points: int) -> Stage:
    questions = stage("questions")
    answers = [stage("answers", questions, number=n) for n in range(points)]
    scores = [stage("scores", questions, each, number=n) for n, each in enumerate(answers)]
    return stage("report", *scores)


def test_units_with_the_same_name_form_one_array() -> None:
    assert [(job.name, len(job.elements)) for job in jobs_of(scan(50))] == [
        ("01-questions", 1),
        ("02-answers", 50),
        ("03-scores", 50),
        ("04-report", 1),
    ]


def test_a_job_waits_for_exactly_the_jobs_of_its_inputs() -> None:
    questions, answers, scores, report = jobs_of(scan(50))
    assert (questions.after, questions.after_each) == ((), ())
    assert (answers.after, answers.after_each) == (("01-questions",), ())
    assert (scores.after, scores.after_each) == (("01-questions",), ("02-answers",))
    assert (report.after, report.after_each) == (("03-scores",), ())


def test_finished_stages_are_no_dependency() -> None:
    start = stage("start")
    (job,) = jobs_of(stage("answers", start), done=(start,))
    assert (job.after, job.after_each) == ((), ())


def test_arrays_are_split_where_the_cluster_says_and_correspond_part_by_part() -> None:
    jobs = jobs_of(scan(25), most=10)
    assert [(job.name, len(job.elements)) for job in jobs[1:4]] == [
        ("02-answers", 10),
        ("03-answers", 10),
        ("04-answers", 5),
    ]
    assert [job.after_each for job in jobs[4:7]] == [("02-answers",), ("03-answers",), ("04-answers",)]
    assert jobs[7].after == ("05-scores", "06-scores", "07-scores")


def test_elements_without_one_to_one_inputs_wait_for_the_whole_array() -> None:
    answers = [stage("answers", number=n) for n in range(3)]
    votes = [stage("votes", answers[0], answers[n], number=n) for n in (1, 2)]
    job = jobs_of(stage("report", *votes))[1]
    assert (job.after, job.after_each) == (("01-answers",), ())


def test_a_stage_that_depends_on_its_own_kind_gets_another_array() -> None:
    first = stage("checkpoint")
    assert len(jobs_of(stage("checkpoint", first, number=1))) == 2


def test_different_resources_need_another_job() -> None:
    small, large = stage("answers"), stage("answers", number=1, resources=Resources("generate", devices=8))
    assert [len(job.elements) for job in jobs_of(stage("report", small, large))] == [1, 1, 1]


def test_a_thousand_points_are_a_few_dozen_jobs() -> None:
    assert len(jobs_of(scan(1000))) == 4
    assert len(jobs_of(scan(1000), most=100)) == 22


@given(st.lists(st.lists(st.integers(0, 30), max_size=4), min_size=1, max_size=30), st.integers(1, 7))
def test_every_unit_is_sent_once_after_all_that_it_needs(wiring: list[list[int]], most: int) -> None:
    stages: list[Stage] = []
    for number, inputs in enumerate(wiring):
        found = {at % number for at in inputs} if number else set()
        stages.append(stage("abc"[number % 3], *(stages[at] for at in sorted(found)), number=number))
    jobs = jobs_of(*stages, most=most)
    order = {address: at for at, job in enumerate(jobs) for each in job.elements for address in each.stages}
    assert sorted(order) == sorted({each.address for each in stages})
    names = [job.name for job in jobs]
    for at, job in enumerate(jobs):
        assert len(job.elements) <= most
        needs = {order[address] for each in job.elements for address in each.waits_for}
        assert {names.index(name) for name in (*job.after, *job.after_each)} == needs
        assert all(need < at for need in needs)


def test_dependencies_are_whole_jobs_or_element_by_element() -> None:
    ids = {"01-questions": "7", "02-answers": "8", "03-scores": "9"}
    questions, answers, scores, report = jobs_of(scan(3))
    assert dependency_of(questions, ids) is None
    assert dependency_of(answers, ids) == "afterok:7"
    assert dependency_of(scores, ids) == "afterok:7,aftercorr:8"
    assert dependency_of(report, ids) == "afterok:9"


# ------------------------------------------------------------------------------------------------- afterwards


def stands(
    done: set[str], failed: set[str], seen: dict[str, SlurmInfo] | None, points: int = 3
) -> dict[str, ElementState]:
    jobs = jobs_of(scan(points))
    ids = {job.name: str(at) for at, job in enumerate(jobs, start=1)}
    names = {address: f"{job.name}:{at}" for job in jobs for at, e in enumerate(job.elements) for address in e.stages}
    addresses = {name: address for address, name in names.items()}
    disk = StoreInfo({addresses[each] for each in done}, {addresses[each] for each in failed})
    return {f"{each.job}:{each.index}": each.state for each in element_statuses(jobs, ids, disk, seen)}


def test_the_store_takes_precedence_over_slurm() -> None:
    seen = {
        "1": SlurmInfo("RUNNING"),  # its record is there: SLURM has not noticed yet
        "2_0": SlurmInfo("FAILED", "exit 1:0"),
        "2_1": SlurmInfo("RUNNING"),
        "3_0": SlurmInfo("CANCELLED", "DependencyNeverSatisfied"),
        "3_1": SlurmInfo("PENDING", "Dependency"),
        "3_2": SlurmInfo("CANCELLED", "None"),
        "4": SlurmInfo("PENDING", "Dependency"),
    }
    assert stands({"01-questions:0"}, {"02-answers:0"}, seen) == {
        "01-questions:0": ElementState.DONE,
        "02-answers:0": ElementState.FAILED,
        "02-answers:1": ElementState.RUNNING,
        "02-answers:2": ElementState.LOST,
        "03-scores:0": ElementState.BLOCKED,
        "03-scores:1": ElementState.WAITING,
        "03-scores:2": ElementState.CANCELLED,
        "04-report:0": ElementState.WAITING,
    }


def test_dependents_of_a_failure_are_blocked_even_without_a_reason_from_slurm() -> None:
    """Accounting calls it cancelled, as if a person had done it; what is long over is not known at all."""
    seen = {
        "2_0": SlurmInfo("FAILED", "exit 1:0"),
        "2_1": SlurmInfo("CANCELLED", "exit 0:0"),
        "3_0": SlurmInfo("CANCELLED", "exit 0:0"),
        "3_1": SlurmInfo("CANCELLED", "exit 0:0"),
    }
    assert stands({"01-questions:0", "02-answers:2", "03-scores:2"}, {"02-answers:0"}, seen) == {
        "01-questions:0": ElementState.DONE,
        "02-answers:0": ElementState.FAILED,
        "02-answers:1": ElementState.CANCELLED,
        "02-answers:2": ElementState.DONE,
        "03-scores:0": ElementState.BLOCKED,
        "03-scores:1": ElementState.CANCELLED,
        "03-scores:2": ElementState.DONE,
        "04-report:0": ElementState.BLOCKED,
    }


@pytest.mark.parametrize(
    "seen",
    [SlurmInfo("CANCELLED", cancelled_by="1000"), SlurmInfo("CANCELLED", "Dependency")],
    ids=["sacct", "scontrol"],
)
def test_what_a_user_cancelled_stays_cancelled_when_its_input_fails_later(seen: SlurmInfo) -> None:
    found = stands({"01-questions:0"}, {"02-answers:0"}, {"3_0": seen})
    assert found["03-scores:0"] is ElementState.CANCELLED


def test_without_slurm_only_done_and_failed_are_known() -> None:
    states = stands({"01-questions:0"}, {"02-answers:1"}, None)
    assert states["01-questions:0"] is ElementState.DONE
    assert states["02-answers:1"] is ElementState.FAILED
    assert states["02-answers:0"] is ElementState.UNKNOWN


def test_only_failed_and_missing_elements_are_resubmitted() -> None:
    jobs = jobs_of(scan(3))
    ids = {job.name: str(at) for at, job in enumerate(jobs, start=1)}
    address = {(job.name, at): e.stages[0] for job in jobs for at, e in enumerate(job.elements)}
    disk = StoreInfo(
        {address["01-questions", 0], address["02-answers", 0], address["03-scores", 0]}, {address["02-answers", 1]}
    )
    now = element_statuses(jobs, ids, disk, {"2_2": SlurmInfo("RUNNING"), "3_2": SlurmInfo("PENDING", "Dependency")})
    sent = resubmission(jobs, now, 1001)
    assert [(job.name, len(job.elements), job.after) for job in sent] == [
        ("02-answers.r2", 1, ()),
        ("03-scores.r2", 1, ("02-answers.r2",)),
        ("04-report.r2", 1, ("03-scores.r2",)),
    ]
    assert active_dependencies(sent[2], now) == ["3_2"]  # still under way from the first turn
    later = element_statuses((*jobs, *sent), {**ids, "02-answers.r2": "9"}, disk, {"9": SlurmInfo("PENDING")})
    assert [each.state for each in latest_statuses(later) if each.element.stages[0] == address["02-answers", 1]] == [
        ElementState.WAITING
    ]


def test_array_names_of_slurm_are_read_element_by_element() -> None:
    assert list(expand_elements("17")) == ["17"]
    assert list(expand_elements("17_3")) == ["17_3"]
    assert list(expand_elements("17_[0-2,5%4]")) == ["17_0", "17_1", "17_2", "17_5"]
    assert list(expand_elements("17_[0-6:3]")) == ["17_0", "17_3", "17_6"]
