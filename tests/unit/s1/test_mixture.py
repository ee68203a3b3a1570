"""A mixture takes rows of several pools in proportion to their weights, and counts them by source."""

from __future__ import annotations

from pathlib import Path

import pytest

from s1 import pipeline
from s1.config.schema import ConfigError
from s1.data.funnel import FunnelStep, funnel_step, read_funnel, write_funnel
from s1.data.mixture import mixed_rows, mixture, shares
from s1.pinning import pinning_of
from s1.records import ROWS, PoolRow, read_rows, write_rows
from s1.stages import MixtureConfig, SourceWeight
from sweep.config.compose import compose
from sweep.core.stage import Stage, Work
from sweep.errors import InputError


def row(question: str, source: str = "web") -> PoolRow:
    return PoolRow(question, question, None, source, None, "because", "so")


def pools(**sizes: int) -> dict[str, list[PoolRow]]:
    return {name: [row(f"{name} {number}") for number in range(size)] for name, size in sizes.items()}


def config(rows: int, seed: int = 0, **weights: float | None) -> MixtureConfig:
    return MixtureConfig([SourceWeight(name, weight) for name, weight in weights.items()], rows, seed)


@pytest.mark.parametrize(
    ("weights", "rows", "expected"),
    [
        ({"a": 1, "b": 1}, 10, {"a": 5, "b": 5}),
        ({"a": 3, "b": 1}, 1000, {"a": 750, "b": 250}),
        ({"a": 1, "b": 1, "c": 1}, 10, {"a": 4, "b": 3, "c": 3}),  # equal remainders: the first
        ({"a": 0.2, "b": 0.3, "c": 0.5}, 7, {"a": 1, "b": 2, "c": 4}),  # 1.4, 2.1, 3.5: the row goes to c
        ({"a": 1}, 0, {"a": 0}),
        ({}, 0, {}),
    ],
)
def test_rows_are_shared_by_the_largest_remainder(
    weights: dict[str, float], rows: int, expected: dict[str, int]
) -> None:
    assert shares(weights, rows) == expected


def test_a_source_without_a_weight_gives_all_of_its_rows_in_addition() -> None:
    kept, step = mixture(pools(s1k=4, sky=20), config(6, s1k=None, sky=1))
    assert {name: len(rows) for name, rows in kept.items()} == {"s1k": 4, "sky": 6} == step.kept_by_source
    assert (step.kept, step.dropped) == (10, {"sky: not drawn": 14})
    assert [each.id for each in kept["s1k"]] == [f"s1k-s1k {number}" for number in range(4)]
    assert {each.source for each in kept["sky"]} == {"sky/web"}


def test_a_source_draws_the_same_rows_beside_any_other() -> None:
    def drawn(seed: int, **sizes: int) -> list[str]:
        others = dict.fromkeys(sizes, 1.0)
        kept, _ = mixture(pools(**sizes), config(8 * len(sizes), seed, **others))
        return [each.question for each in kept["sky"]]

    assert drawn(0, sky=30) == drawn(0, own=9, sky=30) != drawn(1, sky=30)
    assert drawn(0, sky=30) == sorted(drawn(0, sky=30), key=lambda question: int(question.split()[1]))


def test_a_question_of_two_sources_is_taken_from_the_first() -> None:
    kept, step = mixture({"a": [row("same"), row("one")], "b": [row("same"), row("two")]}, config(0, a=None, b=None))
    assert [each.question for each in kept["b"]] == ["two"]
    assert step.dropped == {"b: asked before": 1}


def test_too_few_rows_are_refused_rather_than_repeated() -> None:
    with pytest.raises(
        ConfigError, match=r"^data\.pool\.sources\.b\.weight 3: asks for 75 rows, and 5 are there\. Low"
    ):
        mixture(pools(a=100, b=5), config(100, a=1, b=3))


def test_the_stage_reports_the_sources_in_the_order_of_its_config(tmp_path: Path) -> None:
    directories = []
    for name, rows in pools(long=3, art=2).items():
        (tmp_path / name).mkdir()
        directories.append(tmp_path / name)
        write_rows(tmp_path / name / ROWS, rows)
        write_funnel(tmp_path / name, [funnel_step("collected", rows, [])])
    out = tmp_path / "out"
    out.mkdir()
    sources, inputs = config(0, long=None, art=None), {"pools": tuple(directories)}
    work = Work("key", sources, inputs, out, out, out, {}, lambda *_progress: None)
    assert mixed_rows(work) == {"rows": 5, "rows of long": 3, "rows of art": 2}
    assert [each.source for each in read_rows(work.out / ROWS, PoolRow)] == ["long/web"] * 3 + ["art/web"] * 2
    assert [(step.name, step.kept_by_source) for step in read_funnel(work.out)] == [
        ("collected", {"long": 3, "art": 2}),
        ("mixed", {"long": 3, "art": 2}),
    ]


def test_steps_that_do_not_count_sources_are_written_as_before(tmp_path: Path) -> None:
    write_funnel(tmp_path, [FunnelStep("collected", 3)])
    assert "kept_by_source" not in (tmp_path / "funnel.json").read_text()


def test_a_third_source_is_added_on_the_command_line(tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text('{"question": "q", "thinking": "t", "attempt": "a", "solution": "1"}\n')
    added = ["+pool@data.pool.sources.own.pool=file", f"data.pool.sources.own.pool.file={own}"]
    composed = compose(["goal=data", "data=dial_mixture", *added])
    stages = {stage.name: stage for stage in _all_stages(pipeline.graph(composed.points, composed.request).artifact)}
    assert [each.source for each in stages["mixture"].config.sources] == ["short", "long", "own"]
    assert len(stages["mixture"].inputs["pools"]) == 3


def test_hub_sources_of_a_mixture_are_pinned_like_any_other() -> None:
    composed = compose(["goal=data", "data=s1k_and_sky_t1", "model=qwen2_5_0_5b"])
    pinning = pinning_of(composed.points, composed.request)
    assert "data.pool.sources.sky_t1.pool.hub.revision null" in pinning.fields.values()
    graph = pipeline.graph(composed.points, composed.request)
    assert any("sky_t1.pool.hub.revision null" in line for line in graph.unpinned(_all_stages(graph.artifact)))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.pool.kind=mixture"], "data.pool.kind mixture: a mixture needs data.pool.sources."),
        (
            ["+pool@data.pool.sources.own.pool=dial"],
            "data.pool.kind dial: it does not take data.pool.sources. Choose kind mixture.",
        ),
    ],
)
def test_sources_belong_to_mixtures(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        compose(["data=dial_1k", *overrides])


def _all_stages(stage: Stage) -> list[Stage]:
    return [stage, *(below for each in stage.dependencies() for below in _all_stages(each))]
