"""Which points belong together: series by family and amount, seeds of one point pooled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from s1.config.schema import Budget, Compat, Forcing
from s1.report.findings import Findings
from s1.report.tables import as_written, shown
from s1.report.verdict import verdict
from s1.stages import CurvePoint
from tests.support.known import known
from tests.support.scans import found, measured, of, point, rows, run, series_of

PLAIN = Budget(Forcing.BUDGET, None, 0, 0, "Wait", None)


@pytest.fixture(autouse=True)
def engine_without_a_file(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "tmp_path" not in request.fixturenames:
        monkeypatch.setattr("s1.report.curve.read_engine", lambda directory: {"engine": "scripted"})


def waiting(waits: int, continuation: str, **values: object) -> CurvePoint:
    axes = {"budget": "wait", "budget.continuation": continuation}
    return of(replace(PLAIN, waits=waits, continuation=continuation), f"{continuation} x{waits}", **{**axes, **values})


def lines(findings: Findings) -> dict[str, list[str]]:
    return {series.name: [each.label for each in series.points] for series in findings.series}


# ------------------------------------------------------------------------------------------------------ series


def test_two_continuation_strings_are_two_series_and_each_verdict_speaks_of_its_own() -> None:
    """The README's own command: Hmm x1 thinks 471.8 tokens and Wait x1 68.3, and once both lay on one line."""
    tokens = {"Wait": (68, 110, 160), "Hmm": (472, 473, 474)}
    scored = [
        measured(waiting(waits, text), range(32 if text == "Wait" else 2), tokens[text][waits - 1])
        for waits in (1, 2, 3)
        for text in ("Wait", "Hmm")
    ]
    findings = found(scored)
    assert lines(findings) == {"Wait": ["Wait x1", "Wait x2", "Wait x3"], "Hmm": ["Hmm x1", "Hmm x2", "Hmm x3"]}
    assert all("rises with" not in sentence for series in findings.series for sentence in verdict(series))


def test_a_natural_end_and_a_maximum_lie_on_the_line_of_every_string() -> None:
    scored = [
        measured(of(replace(PLAIN, max_thinking_tokens=8), "max 8"), range(4), 8),
        measured(of(PLAIN, "natural end"), range(20), 30),
        *(measured(waiting(1, text), range(25), 60) for text in ("Wait", "Hmm", "")),
    ]
    assert lines(found(scored)) == {
        "Wait": ["max 8", "natural end", "Wait x1"],
        "Hmm": ["max 8", "natural end", "Hmm x1"],
        "no continuation": ["max 8", "natural end", "suppressed end x1"],
    }


def test_of_two_natural_ends_each_line_has_the_one_that_is_set_as_its_others_are() -> None:
    """budget.waits=0,1 with two strings: the string does not matter without Waits, and both points were measured."""
    scored = [
        measured(waiting(waits, text), range(10 + waits), 30 + 30 * waits + len(text))
        for waits in (0, 1)
        for text in ("Wait", "Hmm")
    ]
    findings = found(scored)
    ends = {series.name: series.point("natural end").values["budget.continuation"] for series in findings.series}
    assert ends == {"Wait": "Wait", "Hmm": "Hmm"}


@pytest.mark.parametrize(
    ("axis", "values", "names"),
    [
        ("generate.temperature", (0.6, 1.0), ["generate.temperature 0.6", "generate.temperature 1.0"]),
        ("generate.samples", (1, 4), ["generate.samples 1", "generate.samples 4"]),
        ("task", ("aime24", "math500"), ["task aime24", "task math500"]),
        ("model.seed", (0, 1), ["model.seed 0", "model.seed 1"]),
    ],
)
def test_an_axis_that_is_no_amount_starts_a_series(axis: str, values: tuple, names: list[str]) -> None:
    scored = [
        measured(point(limit, 0, **{axis: value}), range(10), limit or 30) for value in values for limit in (8, None)
    ]
    assert lines(found(scored)) == {name: ["max 8", "natural end"] for name in names}


@pytest.mark.parametrize(
    ("field", "values", "names"),
    [
        ("answer_tokens", (2, 16), ["answer_tokens 2", "answer_tokens 16"]),
        ("compat", (Compat.CORRECTED, Compat.S1), ["method forcing", "method s1_original"]),
    ],
)
def test_a_field_of_the_budget_that_is_no_amount_starts_a_series(field: str, values: tuple, names: list[str]) -> None:
    budgets = [replace(PLAIN, **{field: value}, max_thinking_tokens=limit) for value in values for limit in (8, 16)]
    scored = [
        measured(of(each, "a label that says nothing"), range(10), known(each.max_thinking_tokens)) for each in budgets
    ]
    assert [series.name for series in found(scored).series] == names


def test_a_series_is_named_by_all_that_tells_it_from_others() -> None:
    scored = [
        measured(waiting(waits, text, task=task), range(10), 30 + waits)
        for text in ("Wait", "\n\nWait")
        for task in ("aime24", "math500")
        for waits in (1, 2)
    ]
    assert list(lines(found(scored))) == [
        "Wait, task aime24",
        "Wait, task math500",
        '"\\n\\nWait", task aime24',
        '"\\n\\nWait", task math500',
    ]


def test_instructed_lengths_are_one_series_with_control_and_scaling() -> None:
    """Conditional control: the number in the prompt is the amount, and the bounds of Control."""
    scored = [
        measured(
            of(
                PLAIN,
                "",
                f"Think for up to {asked} tokens.",
                **{"task.instruction": f"Think for up to {asked} tokens."},
            ),
            range(right),
            tokens,
        )
        for asked, tokens, right in ((1024, 900, 10), (2048, 1500, 20), (4096, 5000, 30))
    ]
    (series,) = found(scored).series
    assert [each.bounds.highest for each in series.points if each.bounds] == [1024, 2048, 4096]
    assert series.metrics.control is not None and series.metrics.control.value == pytest.approx(2 / 3)
    assert series.metrics.scaling is not None and series.metrics.scaling.value > 0
    assert verdict(series)[0].startswith(f"Accuracy rises with thinking to {series.points[-1].label}, from 25.0%")


def test_another_instruction_text_is_another_series_and_none_is_not_every() -> None:
    scored = [
        measured(of(replace(PLAIN, max_thinking_tokens=limit), "", text, **{"task.instruction": text}), range(10), 8)
        for text in (None, "Be brief.", "Be thorough.")
        for limit in (8, 16)
    ]
    assert lines(found(scored)) == {
        f"instruction {text}": ["max 8", "max 16"] for text in ("none", "Be brief.", "Be thorough.")
    }


# ------------------------------------------------------------------------------------------------------- seeds


def seeded(seeds: int) -> list:
    """A maximum and the natural end; each seed is right on one question more than the one before."""
    return [
        measured(point(limit, 0, seed=seed), range(seed, seed + right + seed), tokens + seed)
        for seed in range(seeds)
        for limit, right, tokens in ((8, 4, 5), (None, 20, 30))
    ]


def test_three_seeds_are_one_series_of_means_that_hold_for_these_seeds() -> None:
    (series,) = found(seeded(3)).series
    assert [each.label for each in series.points] == ["max 8", "natural end"]
    last = series.points[-1]
    assert last.accuracy.value == pytest.approx((20 + 21 + 22) / 3 / 40)
    assert last.seed_range == (20 / 40, 22 / 40)
    assert last.thinking_tokens.value == pytest.approx(30 + 1 + 39 / 40)  # three seeds, and 0, 1, 2 by question
    assert [(each.seed, each.accuracy.value) for each in last.sources] == [(0, 0.5), (1, 21 / 40), (2, 22 / 40)]
    assert "given these 3 seeds" in last.accuracy.method
    assert last.values == {"budget.max_thinking_tokens": None, "budget.waits": 0}
    (difference,) = series.to_reference
    assert difference.estimate.value == pytest.approx(-100 * (16 + 16 + 16) / 3 / 40)
    assert len({each.key for each in last.sources}) == 3 and last.key == " ".join(each.key for each in last.sources)


def test_eight_seeds_have_an_interval_over_seeds_too() -> None:
    given, both = (found(seeded(count)).series[0].points[-1].accuracy.method for count in (7, 8))
    assert "given these 7 seeds" in given
    assert "8 seeds, two-way" in both


def test_seeds_are_series_of_their_own_where_they_are_not_to_be_pooled() -> None:
    assert lines(found(seeded(2), pool_seeds=False)) == {
        "seed 0": ["max 8", "natural end"],
        "seed 1": ["max 8", "natural end"],
    }


def test_seeds_of_other_questions_cannot_pool_and_the_report_says_so() -> None:
    """Rows made by rule have equal ids under every seed, but other right answers."""
    other = [
        replace(each, scores=[replace(row, gold=f"{each.point.seed}") for row in each.scores]) for each in seeded(2)
    ]
    findings = found(other)
    assert list(lines(findings)) == ["seed 0", "seed 1"]
    assert all("Seeds are not pooled: their questions differ." in series.notes for series in findings.series)


def test_only_the_seed_itself_pools() -> None:
    scored = [
        measured(point(None, 0, seed=seed, **{"model.seed": model}), range(10 + seed), 30)
        for seed in (0, 1)
        for model in (0, 1)
    ]
    assert [(each.name, len(each.points[0].sources)) for each in found(scored).series] == [
        ("model.seed 0", 2),
        ("model.seed 1", 2),
    ]


def test_points_of_different_seeds_are_compared_over_those_that_both_have() -> None:
    scored = [each for each in seeded(3) if (each.point.label, each.point.seed) != ("max 8", 2)]
    (series,) = found(scored).series
    assert [len(each.sources) for each in series.points] == [2, 3]
    assert series.to_reference[0].estimate.value == pytest.approx(-100 * 16 / 40)
    assert any(
        note.startswith("Points of this line have different seeds") and note.endswith("max 8 0/1, natural end 0/1/2.")
        for note in series.notes
    )


def test_seeds_are_visible_in_page_table_and_figure(tmp_path: Path) -> None:
    points = [point(limit, 0, seed=seed) for seed in (0, 1, 2) for limit in (8, None)]
    scores = [rows(4 + 3 * (p.request.budget.max_thinking_tokens is None) + p.seed, 12, 9, None) for p in points]
    out = run(tmp_path, points, scores)
    per_seed = as_written(out / "seeds.csv")
    assert [(row["label"], row["seed"], row["accuracy"]) for row in per_seed][:3] == [
        ("max 8", "0", "0.333333"),
        ("max 8", "1", "0.416667"),
        ("max 8", "2", "0.5"),
    ]
    assert [row["digest"] for row in per_seed][:3] == ["d000beef0000", "d002beef0000", "d004beef0000"]
    (low, high) = as_written(out / "table.csv")
    assert (low["seeds"], low["seeds_lowest"], low["seeds_highest"]) == ("3", "0.333333", "0.5")
    assert low["key"] == "000000000000 000000000002 000000000004"
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "seeds 33.3 to 50.0" in page and "<h2>Seeds</h2>" in page and "one seed" in page
    assert "seeds 33.3 to 50.0" in (out / "README.md").read_text(encoding="utf-8")
    assert [row["point"] for row in shown(out / "table.csv")] == ["max 8 (invalid)", "natural end"]
    assert high["valid"] == "yes"


def test_a_report_of_two_series_names_each_in_every_text(tmp_path: Path) -> None:
    points = [waiting(waits, text) for waits in (1, 2) for text in ("Wait", "Hmm")]
    out = run(
        tmp_path, points, [rows(5 + p.request.budget.waits, 12, 20, None, p.request.budget.waits) for p in points]
    )
    assert [each.name for each in series_of(out)] == ["Wait", "Hmm"]
    assert [row["series"] for row in as_written(out / "table.csv")] == ["Wait", "Wait", "Hmm", "Hmm"]
    assert "Held against the numbers: Wait: cannot be told; Hmm: cannot be told." in (out / "README.md").read_text()
