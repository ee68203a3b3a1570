"""Results are merged with their scores as they are: points that differ never share a line, and settings never mix."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from s1.report.merge import Merged, merge
from s1.report.series import Scored, members_of, series_of
from s1.stages import ArchivedScores, CurveConfig, CurvePoint, ReportConfig, TraceArchiveConfig
from sweep.core.identity import Identity, canonical, key_of
from sweep.core.pipeline import ComposedPoint, FinishedResult, MergeRequest
from sweep.core.recorded import RecordedStage
from sweep.core.stage import CodePolicy, Stage
from sweep.errors import InputError
from tests.support import scans
from tests.support.words import THINKING_FORMAT

GRADERS = {"files": {"s1/evaluate/graders.py": "aaaa"}, "packages": {"lm-eval": "0.4.9"}}


ROLES = {"trace_archive": "archive"}  # of inputs whose role is not their name


def stage(name: str, config: Any, *inputs: RecordedStage, code: Mapping[str, Any] | None = None) -> RecordedStage:
    """A finished stage; its inputs are given by role, which is their name."""
    roles = {
        ROLES.get(each.name, each.name): tuple(other for other in inputs if other.name == each.name) for each in inputs
    }
    keys = {role: [each.key for each in stages] for role, stages in roles.items()}
    plain = canonical(config)
    identity: Any = {"name": name, "version": 1, "config": plain, "inputs": keys}
    request_key, identity = key_of(identity), {**identity, **({"code": code} if code else {})}
    return RecordedStage(
        name,
        1,
        plain,
        "none:none",
        roles,
        code=CodePolicy.FINAL,
        recorded=Identity(**identity),
        recorded_request_key=request_key,
        config_type=f"{type(config).__module__}:{type(config).__qualname__}",
        digest=f"d{key_of(identity)[:11]}",
    )


@dataclass(frozen=True)
class Scan:
    """A scan over budgets of one model on one task."""

    budgets: Sequence[int] = (8, 16)
    name: str = "scan"
    fields: Mapping[str, Any] = field(default_factory=dict)  # of its configuration
    groups: Mapping[str, str] = field(default_factory=dict)
    axes: Sequence[str] = ("budget.max_thinking_tokens",)
    seeds: Sequence[int] = (0,)
    code: Mapping[str, Any] = field(default_factory=lambda: GRADERS)
    settings: Mapping[str, Any] = field(default_factory=dict)  # of its curve
    version: int = 1  # of its engine
    does_compose: bool = True

    def configuration(self, budget: int, seed: int) -> ComposedPoint:
        fields: dict[str, Any] = {
            "seed": seed,
            "model": {"name": "laptop", "seed": seed},
            "train": {"steps": 12, "seed": seed},
            "task": {"name": "dial", "limit": None, "instruction": None},
            "generate": {"samples": 1, "seed": seed},
            "budget": {"max_thinking_tokens": budget, "waits": 0},
        }
        for path, value in self.fields.items():
            section, _, name = path.partition(".")
            fields[section][name] = value
        request = scans.point(budget, 0).request
        choices = {"model": "laptop", "data": "dial_1k", "machine": "cpu", **self.groups}
        return ComposedPoint(SimpleNamespace(request=request, seed=seed), choices, fields)

    @property
    def composed(self) -> list[ComposedPoint]:
        return [self.configuration(budget, seed) for budget in self.budgets for seed in self.seeds]

    def scored(self, each: ComposedPoint) -> tuple[CurvePoint, RecordedStage, RecordedStage]:
        """The point, its scores and its traces."""
        fields = each.fields
        model = stage("model", {"of": [fields["model"], fields["train"]]})
        task = {name: value for name, value in fields["task"].items() if name != "instruction"}
        questions = stage("questions", {**task, "instruction": fields["task"]["instruction"]})
        config = {
            "budget": asdict(each.point.request.budget),
            "generate": fields["generate"],
            "libraries": self.version,
            "thinking_format": {"thinking_start": "<think>", "warning": None},
        }
        traces = stage("traces", config, model, questions)
        scores = stage("scores", {"task": "dial"}, traces, questions, code=self.code)
        values = {axis: each.value(axis) for axis in self.axes}
        return CurvePoint("as labelled before", values, each.point.request, each.point.seed), scores, traces

    @property
    def result(self) -> FinishedResult:
        points = [self.scored(each) for each in self.composed]
        config = CurveConfig([each[0] for each in points], scans.STATISTICS, scans.COST)
        curve = stage("curve", replace(config, **self.settings), *(each for point in points for each in point[1:]))
        report = stage(
            "report", ReportConfig(self.name, "More helps.", f"python -m sweep {self.name}"), curve, archive_of(points)
        )
        return FinishedResult(
            f"{self.name}/{report.key}", report, {point[1].address: point[1].digest for point in points}
        )


def recorded(each: Stage) -> RecordedStage:
    assert isinstance(each, RecordedStage)
    return each


def archive_of(points: Sequence[tuple[CurvePoint, RecordedStage, RecordedStage]]) -> RecordedStage:
    """The archive of points, which are given with their scores and traces."""
    read = [each for _, _, traces in points for role in ("questions", "model") for each in traces.stages_of(role)]
    config = TraceArchiveConfig([ArchivedScores("dial", ["</s>"], THINKING_FORMAT) for _ in points])
    return stage("trace_archive", config, *read)


def merged(*given: Scan, results: Sequence[FinishedResult] = (), **options: Any) -> Merged:
    by_command = {f"python -m sweep {each.name}": each for each in given}

    def compose(command: str) -> list[ComposedPoint]:
        if not by_command[command].does_compose:
            raise InputError("conf changed")
        return by_command[command].composed

    request = MergeRequest("both", "python -m sweep merge", compose, **options)
    return merge(results or [each.result for each in given], request)


def lines(found: Merged) -> dict[str, list[str]]:
    """The labels on each line of the merged curve."""
    scored: list[Scored] = []
    for point, stages in zip(found.curve.points, found.scored, strict=True):
        rows = scans.rows(3, 12, point.request.budget.max_thinking_tokens or 0)
        scored.append(Scored(point, stages.scores.key, rows, Path("traces")))
    found_lines = series_of(members_of(scored, pool_seeds=True))
    return {line.name: [f"{each.label} x{len(each.scored)}" for each in line.members] for line in found_lines}


def test_a_scan_that_is_extended_later_is_one_line() -> None:
    found = merged(Scan((8, 16)), Scan((32, 64), "more"))
    assert lines(found) == {"": ["max 8 x1", "max 16 x1", "max 32 x1", "max 64 x1"]}
    assert [point.values for point in found.curve.points] == [
        {"budget.max_thinking_tokens": budget} for budget in (8, 16, 32, 64)
    ]
    assert found.remarks == ()
    assert (found.report.claim, found.report.merged) == (
        "More helps.",
        ["python -m sweep scan", "python -m sweep more"],
    )


def test_points_of_both_results_count_once() -> None:
    found = merged(Scan((8, 16)), Scan((16, 32), "more"))
    assert lines(found) == {"": ["max 8 x1", "max 16 x1", "max 32 x1"]}
    assert found.remarks == ("1 point is in several results, and counts once.",)


@pytest.mark.parametrize(
    ("scan", "series"),
    [
        (Scan((32,), "b", {"model.name": "x"}, {"model": "qwen3_8b"}), ["model laptop", "model qwen3_8b"]),
        (Scan((32,), "b", {"train.steps": 24}), ["train.steps 12", "train.steps 24"]),
        (Scan((8,), "b", {"task.limit": 5}), ["task.limit null", "task.limit 5"]),
        (Scan((8,), "b", {"generate.samples": 4}), ["generate.samples 1", "generate.samples 4"]),
    ],
)
def test_what_differs_between_results_names_their_series(scan: Scan, series: list[str]) -> None:
    assert list(lines(merged(Scan((8, 16)), scan))) == series


def test_an_axis_of_one_result_has_its_value_in_the_other_too() -> None:
    other = Scan((32,), "b", {"model.name": "x"}, {"model": "qwen3_8b"}, axes=("model", "budget.max_thinking_tokens"))
    found = merged(Scan((8,)), other)
    assert [point.values["model"] for point in found.curve.points] == ["laptop", "qwen3_8b"]


def test_a_machine_or_an_engine_makes_no_series_of_its_own() -> None:
    assert list(lines(merged(Scan((8,)), Scan((32,), "b", groups={"machine": "h100"}, version=2)))) == [""]


def test_seeds_of_two_results_are_pooled() -> None:
    found = merged(Scan((8, 16)), Scan((8, 16), "b", seeds=(1, 2)))
    assert lines(found) == {"": ["max 8 x3", "max 16 x3"]}
    assert [point.values["seed"] for point in found.curve.points] == [0, 0, 1, 2, 1, 2]


@pytest.mark.parametrize("other_seeds", [(0, 1), (1, 2)])
def test_seeds_are_pooled_where_another_field_separates_the_results(other_seeds: Sequence[int]) -> None:
    """Seeds of model, training and generation follow the seed of a point, and never separate series."""
    other = Scan((8,), "b", {"task.limit": 5}, seeds=other_seeds)
    found = merged(Scan((8, 16), seeds=(0, 1)), other)
    assert lines(found) == {"task.limit null": ["max 8 x2", "max 16 x2"], "task.limit 5": ["max 8 x2"]}


def test_seeds_of_different_models_are_not_pooled() -> None:
    other = Scan((8,), "b", {"model.name": "x"}, {"model": "qwen3_8b"}, seeds=(1,))
    assert lines(merged(Scan((8,)), other)) == {"model laptop": ["max 8 x1"], "model qwen3_8b": ["max 8 x1"]}


def test_a_difference_that_no_field_explains_keeps_the_results_apart() -> None:
    other = Scan((8, 32), "b", {"train.steps": 24}, does_compose=False)
    found = merged(Scan((8, 16)), other)
    assert list(lines(found)) == ["result scan", "result b"]
    assert found.remarks == (
        f"{other.result.name}: its command composes other points now, so fields that it does not vary are unknown.",
        "The axis result keeps the points of each result apart.",
    )


def test_results_whose_commands_compose_no_more_still_extend_each_other() -> None:
    found = merged(Scan((8, 16), does_compose=False), Scan((32,), "b", axes=(), does_compose=False))
    assert lines(found) == {"": ["max 8 x1", "max 16 x1", "max 32 x1"]}
    assert found.curve.points[2].values == {"budget.max_thinking_tokens": 32}


def test_a_value_that_nothing_says_is_unknown() -> None:
    named = Scan((8,), axes=("model", "budget.max_thinking_tokens"))
    other = Scan((8,), "b", {"model.name": "x"}, {"model": "qwen3_8b"}, does_compose=False)
    assert list(lines(merged(named, other))) == ["model laptop", "model unknown"]


def test_a_merged_result_merges_again() -> None:
    first, second = Scan((8,)), Scan((16,), "b")
    once = merged(first, second)
    points = [
        (point, recorded(each.scores), recorded(each.traces))
        for point, each in zip(once.curve.points, once.scored, strict=True)
    ]
    curve = stage("curve", once.curve, *(each for point in points for each in point[1:]))
    again = FinishedResult("both/1", stage("report", once.report, curve, archive_of(points)), {})
    third = Scan((32,), "c", {"model.name": "x"}, {"model": "qwen3_8b"})
    found = merged(first, second, third, results=[again, third.result])
    assert lines(found) == {"model laptop": ["max 8 x1", "max 16 x1"], "model qwen3_8b": ["max 32 x1"]}
    assert len(found.report.merged) == 3


def test_apart_gives_each_result_a_line() -> None:
    found = merged(Scan((8, 16)), Scan((8, 16), "b", version=2), is_apart=True)
    assert lines(found) == {"result scan": ["max 8 x1", "max 16 x1"], "result b": ["max 8 x1", "max 16 x1"]}


REGRADED = {**GRADERS, "packages": {"lm-eval": "0.5.0"}}


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (Scan(name="b", code=REGRADED), "graded by different code. Run the command of the older result again"),
        (Scan(name="b", version=2), "of different traces. Add --apart"),
        (Scan((32,), "b", settings={"statistics": replace(scans.STATISTICS, level=0.9)}), "statistics.level: scan/"),
        (Scan((32,), "b", settings={"cost": replace(scans.COST, usd_per_device_hour=9.0)}), "cost.usd_per_device_hour"),
    ],
)
def test_what_cannot_be_merged_is_refused_with_the_reason(other: Scan, reason: str) -> None:
    with pytest.raises(InputError) as refused:
        merged(Scan(), other)
    assert reason in str(refused.value)


def test_like_chooses_the_settings() -> None:
    other = Scan((32,), "b", settings={"statistics": replace(scans.STATISTICS, level=0.9)})
    assert merged(Scan(), other, like=other.result.name).curve.statistics.level == 0.9


def test_other_versions_of_the_graders_are_reported() -> None:
    found = merged(Scan((8,)), Scan((16,), "b", code=REGRADED))
    (remark,) = found.remarks
    assert remark.startswith("Scores were made by different versions of lm-eval: scan/")


def test_scores_that_are_gone_are_named() -> None:
    result = Scan().result
    curve = result.artifact.stages_of("curve")[0]
    gone = replace(curve, inputs={**curve.inputs, "scores": curve.inputs["scores"][:1]}, lost=("scores/aaaaaaaaaaaa",))
    pruned = replace(result, artifact=replace(result.artifact, inputs={"curve": (gone,)}))
    with pytest.raises(InputError, match="scores/aaaaaaaaaaaa is no longer in the store"):
        merged(Scan(), Scan((32,), "b"), results=[pruned, Scan((32,), "b").result])


def test_scores_that_were_made_again_since_are_refused() -> None:
    result = Scan().result
    digests = dict.fromkeys(copy.copy(dict(result.digests)), "0123456789ab")
    with pytest.raises(InputError, match="@0123, which is @d"):
        merged(Scan(), Scan((32,), "b"), results=[replace(result, digests=digests), Scan((32,), "b").result])


def test_a_result_without_points_is_refused() -> None:
    funnel = FinishedResult("data/1", stage("funnel", {}), {})
    with pytest.raises(InputError, match="data/1: a funnel, which has no points"):
        merged(Scan(), results=[Scan().result, funnel])
