"""What a result was planned to cost and what it took: kept from the plan, published beside the result."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from sweep.console import Console
from sweep.core.costs import CostTotals, StageCost, by_name, totals
from sweep.core.pipeline import CostEstimate, Graph, Usage
from sweep.core.stage import Stage
from sweep.local.execute import execute_plan
from sweep.plan.graph import plan
from sweep.results.copy import copy_to
from sweep.results.costs import costs_js, stage_costs, write_planned
from sweep.results.publish import Published, publish
from sweep.store.directory import read_json
from tests.support.publisher import User


def needed(user: User) -> Sequence[Stage]:
    return plan([user.graph.artifact], user.store.is_done).needed


def run(user: User, graph: Graph) -> Published:
    """What the command does: keep the estimates, make what is missing, publish."""
    work = plan([graph.artifact], user.store.is_done)
    write_planned(graph, user.store, work.needed)
    published = execute_plan(Console(file=io.StringIO()), graph, work, user.store, user.results)
    assert published is not None
    return published


def rows_of(result: Path) -> dict[str, dict[str, str]]:
    with (result / "costs.csv").open(encoding="utf-8", newline="") as file:
        return {row["stage"]: row for row in csv.DictReader(file)}


def numbered(user: User) -> Graph:
    """The toy's graph, whose doubled numbers are tokens and whose final stage is expected to take an hour."""
    return replace(
        user.graph,
        usage=lambda summary: Usage(int(summary["doubled"] or 0), 0.25) if "doubled" in summary else Usage(),
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[User, Published]:
    user = User(tmp_path_factory.mktemp("made"))
    return user, run(user, numbered(user))


def test_each_stage_of_a_result_has_its_estimate_beside_what_it_took(made: tuple[User, Published]) -> None:
    user, published = made
    rows = rows_of(published.path)
    assert [row["name"] for row in rows.values()] == ["doubled", "doubled", "number", "number", "total"]
    total = rows[user.graph.artifact.address]
    assert (total["planned_tokens"], total["planned_device_seconds"], total["planned_usd"]) == ("10", "3600.0", "1.5")
    assert (total["spent_tokens"], total["spent_usd"], total["reused"]) == ("", "0.0", "no")
    assert float(total["spent_seconds"]) >= 0
    assert sorted(row["spent_tokens"] for row in rows.values() if row["name"] == "doubled") == ["2", "4"]
    assert published.manifest["usd"] == 0.5  # what others charged is part of the cost


def test_stages_that_another_result_left_are_reused_and_not_planned(made: tuple[User, Published]) -> None:
    user, _ = made
    other = replace(user.graph.artifact, version=2)
    estimates = {other.address: CostEstimate(0, 0.0, 2.0)}
    published = run(user, replace(numbered(user), artifact=other, estimates=estimates))
    rows = stage_costs(published.manifest["stages"])
    assert {row.name: row.reused for row in rows} == {"doubled": True, "number": True, "total": False}
    assert [row.planned_usd for row in rows] == [None, None, None, None, 2.0]
    assert totals(rows) == CostTotals(planned_usd=2.0, spent_usd=0.0, reused_usd=0.5)


def test_estimates_of_an_interrupted_command_are_kept_by_the_next_one(tmp_path: Path) -> None:
    user = User(tmp_path)
    first, *later = needed(user)
    write_planned(user.graph, user.store, [first, *later])
    write_planned(replace(user.graph, estimates={}), user.store, later)
    write_planned(user.graph, user.store, [])
    kept = read_json(user.store.directory(user.graph.artifact).path / "planned.json")
    assert kept.keys() == {stage.address for stage in (first, *later)}
    assert kept[user.graph.artifact.address] == asdict(CostEstimate())


@pytest.mark.parametrize("text", [None, "{", '{"total/000000000000": 3}', '{"total/000000000000": {"usd": 1}}'])
def test_without_a_readable_plan_nothing_is_said_to_be_planned_or_reused(
    made: tuple[User, Published], tmp_path: Path, text: str | None
) -> None:
    user, _ = made
    file = user.store.directory(user.graph.artifact).path / "planned.json"
    before = file.read_text(encoding="utf-8")
    file.unlink() if text is None else file.write_text(text, encoding="utf-8")
    try:
        rows = stage_costs(publish(numbered(user), user.store, tmp_path).manifest["stages"])
    finally:
        file.write_text(before, encoding="utf-8")
    assert {(row.reused, row.planned_usd) for row in rows} == {(None, None)}
    assert totals(rows) is None


def test_other_costs_alone_make_no_new_result(made: tuple[User, Published]) -> None:
    user, published = made
    (published.path / "costs.csv").write_text("opened and saved by a spreadsheet", encoding="utf-8")
    again = publish(replace(numbered(user), usage=lambda summary: Usage(7, 7.0)), user.store, user.results)
    assert again.path == published.path
    assert (again.path / "costs.csv").read_text(encoding="utf-8") == "opened and saved by a spreadsheet"


def test_a_copy_has_the_costs_and_loses_them_with_the_next_result(made: tuple[User, Published], tmp_path: Path) -> None:
    user, _ = made
    published = publish(numbered(user), user.store, tmp_path / "results")
    copy_to(published, tmp_path / "copy")
    files = {"costs.csv", "costs.js", "total.txt", "manifest.json"}
    assert {path.name for path in (tmp_path / "copy").iterdir()} == files
    assert rows_of(tmp_path / "copy") == rows_of(published.path)
    (tmp_path / "copy" / "costs.md").write_text("mine", encoding="utf-8")
    copy_to(published, tmp_path / "copy")
    assert {path.name for path in (tmp_path / "copy").iterdir()} == {*files, "costs.md"}


def test_sums_by_name_leave_out_what_is_unknown() -> None:
    one = StageCost("traces", "traces/a", False, 100, 10.0, 0.1, 90, 12.5, 0.125, 12.5)
    two = replace(
        one, stage="traces/b", reused=True, planned_tokens=None, planned_usd=None, planned_device_seconds=None
    )
    curve = StageCost("curve", "curve/c", False, 0, 0.0, 0.0, None, 0.0, 0.0, 2.0)
    traces, summed = by_name([one, two, curve])
    assert traces == StageCost("traces", "", False, 100, 10.0, 0.1, 180, 25.0, 0.25, 25.0)
    assert (summed.name, summed.spent_tokens, summed.reused) == ("curve", None, False)
    assert totals([one, two, curve]) == CostTotals(0.1, 0.125, 0.125, 10 / 3600, 12.5 / 3600)


def test_a_price_that_was_unknown_is_not_said_to_be_planned() -> None:
    known = StageCost("traces", "traces/a", False, 100, 10.0, 0.1, 90, 12.5, 0.125, 12.5)
    unknown = replace(known, stage="traces/b", planned_tokens=None, planned_usd=None, planned_device_seconds=None)
    (summed,) = by_name([known, unknown])
    assert (summed.planned_tokens, summed.planned_usd, summed.planned_device_seconds) == (None, None, None)
    sums = totals([known, unknown])
    assert sums is not None and sums.line.startswith("cost: planned unknown, spent 0.2500 USD")


def test_what_is_in_no_stage_of_the_result_is_a_row_and_part_of_what_was_spent() -> None:
    (row,) = stage_costs({}, {"usd": 5.02, "device_seconds": 18.0})
    assert (row.name, row.stage, row.spent_usd) == ("beside", "", 5.02)
    sums = totals([row])
    assert sums is not None and sums.line == (
        "cost: planned 0.0000 USD, spent 5.02 USD (0.005 device-hours),"
        " 5.02 USD of it in other attempts, probes and earlier rounds"
    )


def test_the_closing_line_names_small_and_large_sums() -> None:
    assert CostTotals(0.0021, 12.5, 0.0).line == "cost: planned 0.0021 USD, spent 12.50 USD"
    assert CostTotals(2.9, 3.1, 0.0, 1.0, 1.07).line == (
        "cost: planned 2.90 USD (1 device-hours), spent 3.10 USD (1.07 device-hours)"
    )
    assert CostTotals(1.0, 0.0, 0.5).line.endswith("spent 0.0000 USD; what it reuses had cost 0.5000 USD")


def test_the_script_of_the_page_is_an_assignment_that_ends_no_html(made: tuple[User, Published]) -> None:
    row = StageCost("</script>", "a/b", None, None, None, None, None, None, 0.0, 0.0)
    text = costs_js([row])
    assert "</" not in text and text.isascii()
    (summed,) = json.loads(text.removeprefix("window.s1Costs = ").removesuffix(";\n").replace("<\\/", "</"))
    assert summed["name"] == "</script>" and summed["stages"][0]["stage"] == "a/b"
