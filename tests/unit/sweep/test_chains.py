"""Units share a job only if no unit starts later and no failure blocks more units."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sweep.core.stage import CodePolicy, Resources, Stage
from sweep.plan.graph import plan
from sweep.slurm.jobs import chains, plan_jobs

CPU, GPU = Resources(), Resources("generate", devices=1)


def stage(name: str, *inputs: Stage, number: int = 0, resources: Resources = CPU) -> Stage:
    return Stage(
        name,
        1,
        {"number": number},
        "a:b",
        {"of": inputs} if inputs else {},
        resources=resources,
        code=CodePolicy.EXPENSIVE,
    )


def chained(*targets: Stage) -> list[str]:
    return ["+".join(unit.name for unit in chain) for chain in chains(plan(targets, lambda each: False).units)]


def test_a_unit_with_one_dependent_joins_its_job() -> None:
    rows = stage("rows", stage("pool"))
    assert chained(stage("rendered", rows)) == ["pool+rows+rendered"]


def test_inputs_of_one_final_stage_form_one_chain() -> None:
    answers = stage("answers", resources=GPU)
    scores = stage("scores", answers)
    curve = stage("curve", answers, scores)
    assert chained(stage("report", curve)) == ["answers", "scores+curve+report"]


def test_a_unit_with_another_dependent_gets_its_own_job() -> None:
    questions = stage("questions")
    answers = stage("answers", questions, resources=GPU)
    assert chained(stage("scores", questions, answers)) == ["questions", "answers", "scores"]


def test_inputs_of_the_next_unit_do_not_delay_the_chain() -> None:
    rows = stage("rows")
    model = stage("checkpoint", resources=GPU)
    assert chained(stage("graded", rows, model)) == ["rows", "checkpoint", "graded"]


def test_gpus_are_never_chained() -> None:
    assert chained(stage("votes", stage("answers", resources=GPU), resources=GPU)) == ["answers", "votes"]


def test_chains_with_the_same_stages_form_one_array() -> None:
    rendered = [stage("rendered", stage("curated", number=n), number=n) for n in range(3)]
    jobs = plan_jobs(plan([stage("report", *rendered)], lambda each: False).units, 1001)
    assert [(job.name, len(job.elements)) for job in jobs] == [("01-curated+rendered", 3), ("02-report", 1)]
    first = jobs[0].elements[0]
    assert [[address.partition("/")[0] for address in step] for step in first.steps] == [["curated"], ["rendered"]]
    assert first.waits_for == ()


Wiring = st.lists(st.tuples(st.lists(st.integers(0, 30), max_size=3), st.booleans()), min_size=1, max_size=25)


@given(Wiring)
def test_chaining_never_delays_a_unit_or_spreads_a_failure(wiring: list[tuple[list[int], bool]]) -> None:
    stages: list[Stage] = []
    for number, (inputs, has_gpu) in enumerate(wiring):
        found = {at % number for at in inputs} if number else set()
        resources = GPU if has_gpu else CPU
        stages.append(
            stage("abc"[number % 3], *(stages[at] for at in sorted(found)), number=number, resources=resources)
        )
    made = [[unit.stages[0] for unit in chain] for chain in chains(plan(stages, lambda each: False).units)]
    assert sorted(each.address for chain in made for each in chain) == sorted(each.address for each in stages)
    for chain in made:
        first, addresses = all_before(chain[0]), [each.address for each in chain]
        for place, each in enumerate(chain):
            assert first | {*addresses[:place]} == all_before(each)  # it starts as soon as alone
        for each in stages:
            if each.address not in addresses and all_before(each) & {*addresses}:
                assert {*addresses} <= all_before(each)  # it is blocked by no more than alone


def all_before(stage: Stage) -> set[str]:
    found = {each.address for each in stage.dependencies()}
    return found.union(*(all_before(each) for each in stage.dependencies()))
