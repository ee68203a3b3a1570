"""What W&B gets of a scan: the runs of a plan, the numbers of a point, the tables of the summary. No wandb here."""

from __future__ import annotations

import csv
import io
import socket
import threading
from contextlib import nullcontext
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from s1 import pipeline
from s1.config.resources import Track
from s1.config.schema import Budget, Forcing
from s1.report.curve import measured_alone
from s1.report.findings import Findings
from s1.report.series import Scored
from s1.report.tables import table_csv
from s1.track import alerts, point_run, summary_run
from s1.track.costs import Bill, PlannedStage, Spent
from s1.track.finished import FinishedStages
from s1.track.lineage import made_by, used_by
from s1.track.plan_runs import RunPlan, run_plan
from s1.track.point_run import KEYS, ScoresOfRun
from s1.track.runs import JobType, Marker, place_of, read_marker, require_answer, write_marker
from s1.track.tracked import Tracked, distinguished
from s1.track.training_run import training_row
from s1.track.wandb_mirror import Home, Mirror
from sweep.config.compose import compose
from sweep.core.pipeline import CostEstimate
from tests.support.known import known
from tests.support.scans import COST, STATISTICS, found, measured, of, point

MAX, WAIT = point(8, 0), point(None, 2)
RECORDS: Any = {"a/b": {"seconds": 1.0, "usd": 0.0, "summary": {}}}
SPENT = Spent(tokens_sampled=900, tokens_from_scratch=2000, usd=0.25, device_hours=0.1)


@pytest.fixture(autouse=True)
def _one_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s1.report.curve.read_engine", lambda directory: {"engine": "scripted"})


def planned(*overrides: str) -> RunPlan:
    composition = compose([*overrides, "-m"])
    points = [(each, pipeline.stages_of(each)) for each in composition.points]
    graph = pipeline.graph(composition.points, composition.request)
    return run_plan(points, graph.artifact, composition.request.values, graph.estimates)


def two_lines() -> list[Scored]:
    """Wait and Hmm beside budgets; max 16 stops above its maximum, which makes it invalid."""
    hmm = of(Budget(Forcing.BUDGET, None, 0, 2, "Hmm", None), "Hmm x2", None, **{"budget.continuation": "Hmm"})
    budgets = [point(limit, 0, **{"budget.continuation": "Wait"}) for limit in (8, 16)]
    wait = point(None, 2, **{"budget.continuation": "Wait"})
    scored = [
        measured(each, range(right), 20) for each, right in zip([*budgets, wait, hmm], (10, 20, 30, 12), strict=True)
    ]
    broken = [replace(row, thinking_tokens=99) for row in scored[1].scores]
    return [scored[0], replace(scored[1], scores=broken), *scored[2:]]


def numbers_of(findings: Findings, scored: Scored) -> point_run.PointNumbers:
    run = ScoresOfRun(scored.key, scored.digest, scored.point)
    return point_run.with_curve(point_run.place_of(findings, run), run, measured_alone(scored, STATISTICS, COST))


def table_of(findings: Findings) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table_csv(findings))))


# ------------------------------------------------------------------------------------------------ the runs of a plan


def test_runs_of_a_scan_are_named_tagged_and_described() -> None:
    runs = planned("+experiment=budget_scan", "model=qwen3_8b", "data=none", "task=aime24", "machine=h100").runs
    assert [run.job_type for run in runs].count(JobType.SUMMARY) == 1
    assert not any(run.job_type is JobType.CHECKPOINT for run in runs)  # nothing is trained
    first, last = runs[0], runs[-1]
    assert (first.name, last.name) == ("qwen3_8b aime24 max 8", "budget_scan")
    assert first.tags == ("budget_scan", "qwen3_8b", "aime24", "vllm")
    assert first.notes == last.notes and "thinking budget" in first.notes


def test_the_config_of_a_point_is_flat_for_filters() -> None:
    config = planned("+experiment=budget_scan", "seed=3").runs[1].config
    assert {
        name: config[name] for name in ("experiment", "model", "data", "task", "engine", "seed", "temperature")
    } == {
        "experiment": "budget_scan",
        "model": "laptop",
        "data": "dial_1k",
        "task": "dial",
        "engine": "transformers",
        "seed": 3,
        "temperature": 0.0,
    }
    assert config["budget"] == {
        "policy": "forcing",
        "max": 8,
        "min": 0,
        "waits": 0,
        "continuation": "Wait",
        "votes": None,
        "tries": None,
        "instruction": None,
    }
    whole = config["point"]
    assert isinstance(whole, dict) and not {"launch", "track"} & set(whole) and whole["budget"] != config["budget"]
    assert isinstance(whole["cost"], dict) and "source" not in whole["cost"]


def test_points_of_one_name_differ_by_their_axes() -> None:
    runs = planned("+experiment=smoke", "data=dial_1k,dial_random", "seed=0,1").runs
    names = [run.name for run in runs if run.job_type is JobType.POINT]
    assert names[0] == "laptop dial max 4, data dial_1k, seed 0"
    assert len(set(names)) == len(names) == 12
    trained = [run.name for run in runs if run.job_type is JobType.CHECKPOINT]
    assert len(set(trained)) == 4
    assert all(run.key in run.name or "dial_1k" in run.name or "dial_random" in run.name for run in runs[:4])


def test_a_long_name_keeps_what_distinguishes_it() -> None:
    first, second = planned("+experiment=smoke", "seed=0,1", "budget.max_thinking_tokens=4").runs[2:4]
    same = [replace(each, name="n" * 128) for each in (first, second)]
    names = [each.name for each in distinguished(same)]
    assert names[0] != names[1] and all(len(name) <= 128 for name in names)


def test_votes_over_the_same_scores_are_runs_of_their_own() -> None:
    votes = ["budget.aggregation=majority_vote", "budget.votes=2,4", "generate=sampled", "generate.samples=4"]
    runs = [run for run in planned("+experiment=smoke", *votes).runs if run.job_type is JobType.POINT]
    assert len({run.stage for run in runs}) == 3
    assert len({run.run_key for run in runs}) == len({run.name for run in runs}) == len(runs) == 6
    single = [run for run in planned("+experiment=smoke").runs if run.job_type is JobType.POINT]
    assert all(run.run_key == run.key for run in single)


def test_lineage_leads_from_the_data_to_the_summary() -> None:
    runs = planned("+experiment=smoke").runs
    made = {each.name: run.job_type for run in runs for each in made_by(run)}
    used = {run.job_type: {each.name for each in used_by(run)} for run in runs}
    checkpoint = next(run for run in runs if run.job_type is JobType.CHECKPOINT)
    assert f"checkpoint-{checkpoint.key}" in used[JobType.POINT] & set(made)
    assert used[JobType.SUMMARY] == {name for name in made if name.startswith("scores-")}
    assert {name.partition("-")[0] for name in used[JobType.CHECKPOINT]} == {"data", "checkpoint"}
    assert {name.partition("-")[0] for name, job in made.items() if job is JobType.POINT} == {"traces", "scores"}


def test_a_sweep_has_the_runs_of_what_it_makes() -> None:
    assert JobType.POINT not in {run.job_type for run in planned("+experiment=curate").runs}
    (trained,) = planned("+experiment=smoke", "goal=checkpoint").runs
    assert trained.job_type is JobType.CHECKPOINT


# ------------------------------------------------------------------------------------------------- the 26 numbers


def test_a_point_has_the_26_keys_of_the_specification() -> None:
    assert len(KEYS) == len(set(KEYS)) == 26
    findings = found(two_lines())
    assert all(tuple(numbers_of(findings, each)) == KEYS for each in two_lines())


def test_the_numbers_of_a_point_are_those_of_table_csv() -> None:
    scored = two_lines()
    findings = found(scored)
    rows = {row["key"]: row for row in table_of(findings)}
    for each in scored:
        values, row = numbers_of(findings, each), rows[each.key]
        assert values["valid"] == (1 if row["valid"] == "yes" else 0)
        for key, column in point_run.COLUMNS.items():
            if key != "valid":
                assert row[column] == ("" if values[key] is None else str(values[key])), (each.point.label, key)
        assert (values["key"], values["digest"], values["seed"]) == (each.key, each.digest, 0)
    assert [numbers_of(findings, each)["valid"] for each in scored] == [1, 0, 1, 1]


def test_a_point_is_compared_with_the_reference_of_its_series() -> None:
    scored = two_lines()
    findings = found(scored)
    differences = {(each.label, series.name): each for series in findings.series for each in series.to_reference}
    references = {series.name: series.reference for series in findings.series}
    for each in scored:
        values = numbers_of(findings, each)
        place = point_run.place_of(findings, ScoresOfRun(each.key, each.digest, each.point))
        assert values["reference"] == references[place.series.name]
        difference = differences.get((place.point.label, place.series.name))
        expected = [None] * 3
        if difference is not None:
            estimate = difference.estimate
            expected = [None if end is None else round(end, 2) for end in (estimate.value, estimate.lo, estimate.hi)]
        assert [values[key] for key in ("diff_pp", "diff_lo", "diff_hi")] == expected
    assert any(numbers_of(findings, each)["diff_pp"] for each in scored)


def test_before_the_curve_a_point_has_what_its_scores_say() -> None:
    each = two_lines()[0]
    run = ScoresOfRun(each.key, each.digest, each.point)
    early = point_run.before_curve(measured_alone(each, STATISTICS, COST), run)
    late = numbers_of(found(two_lines()), each)
    assert {key: late[key] for key in early} == early
    assert set(KEYS) - set(early) == {"loop_share", "diff_pp", "diff_lo", "diff_hi", "reference"}


def test_each_seed_of_a_pooled_point_has_its_own_numbers() -> None:
    scored = [measured(point(8, 0, seed=seed), range(right), 20) for seed, right in ((0, 10), (1, 30))]
    scored += [measured(point(None, 1, seed=seed), range(20), 30) for seed in (0, 1)]
    findings = found(scored)
    values = [numbers_of(findings, each) for each in scored]
    assert [each["accuracy"] for each in values] == [0.25, 0.75, 0.5, 0.5]
    assert [each["seed"] for each in values] == [0, 1, 0, 1]
    assert [each["diff_pp"] for each in values] == [None] * 4  # differences are those of all seeds together
    pooled = sum(int(row["sampled_tokens"]) for row in table_of(findings))
    assert sum(int(str(each["sampled_tokens"])) for each in values) == pooled


def test_scores_that_the_curve_lacks_are_refused() -> None:
    (other,) = [measured(point(99, 0), range(3), 4)]
    with pytest.raises(ValueError, match="no point of the curve has them"):
        point_run.place_of(found(two_lines()), ScoresOfRun(other.key, other.digest, other.point))


# -------------------------------------------------------------------------------------------------- the summary run


def test_the_summary_has_all_keys_and_those_of_every_series() -> None:
    findings = found(two_lines())
    numbers = summary_run.summary_numbers(findings, "It rises.", SPENT)
    first, second = findings.series
    assert tuple(numbers)[: len(summary_run.KEYS)] == summary_run.KEYS
    assert (numbers["points"], numbers["verdict"], numbers["usd"]) == (len(list(findings.points())), "It rises.", 0.25)
    assert numbers["invalid_points"] == sum(not each.valid for each in findings.points()) > 0
    scaling = known(first.metrics.scaling)
    assert numbers["scaling"] == numbers[f"{first.name}/scaling"] == round(scaling.value, 2)
    assert numbers["scaling_lo"] == round(known(scaling.lo), 2) and numbers["best_point"] == first.peak
    assert numbers[f"{second.name}/best_point"] == second.peak
    alone = summary_run.summary_numbers(found([measured(MAX, range(9), 20), measured(WAIT, range(20), 20)]), "", SPENT)
    assert tuple(alone) == summary_run.KEYS


def test_the_first_series_with_a_valid_point_gives_the_plain_keys() -> None:
    findings = found(two_lines())
    first, second = findings.series
    broken = replace(first, points=[replace(each, audit=replace(each.audit, problems=["x"])) for each in first.points])
    numbers = summary_run.summary_numbers(replace(findings, series=[broken, second]), "", SPENT)
    assert numbers["best_point"] == second.peak


def test_the_curve_table_is_table_csv_with_what_the_chart_draws() -> None:
    findings = found(two_lines())
    table = summary_run.tables(findings)["curve"]
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    for row, written in zip(rows, table_of(findings), strict=True):
        assert {name: "" if row[name] is None else str(row[name]) for name in written} == written
    assert {"series", "total_tokens", "usd_per_answer", "published"} <= set(table.columns)
    assert {row["valid"] for row in rows} == {"yes", "no"} and len({row["series"] for row in rows}) == 2


def test_the_line_chart_has_one_line_per_series_and_no_invalid_point() -> None:
    findings = found(two_lines())
    lines = summary_run.line_rows(findings)
    valid = [each for each in findings.points() if each.valid]
    assert len(lines.rows) == len(valid) < len(list(findings.points()))
    assert {row[2] for row in lines.rows} == {series.name for series in findings.series}


def test_differences_and_audit_are_tables() -> None:
    findings = found(two_lines())
    tables = summary_run.tables(findings)
    differences = [dict(zip(tables["differences"].columns, row, strict=True)) for row in tables["differences"].rows]
    of_reference = [row for row in differences if row["kind"] == "reference"]
    assert len(of_reference) == sum(len(series.to_reference) for series in findings.series)
    assert {"a", "b", "diff_pp", "lo", "hi"} <= set(of_reference[0])
    audit = [dict(zip(tables["audit"].columns, row, strict=True)) for row in tables["audit"].rows]
    (problem,) = {row["problems"] for row in audit if row["valid"] == "no"}
    assert "99" in problem or "16" in problem
    assert "samples_at_k" not in tables  # one sample per question


def test_costs_stand_beside_what_was_planned_for_this_result() -> None:
    estimate = CostEstimate(tokens=100, device_seconds=8.0, usd=0.02)
    shards = ("traces_shard/a0", "traces_shard/a1")
    stages = {
        "traces/a": PlannedStage(("traces/a", *shards), 4, estimate),
        "traces/b": PlannedStage(("traces/b",), 4, estimate),
        "curve/c": PlannedStage(("curve/c",), 0, CostEstimate()),
        "traces/lost": PlannedStage(("traces/lost",), 4, estimate),
    }
    record = {"seconds": 3.0, "usd": 0.05, "summary": {"engine_tokens": 70, "sampled_tokens": 90}}
    records: Any = {"traces/a": record, "traces/b": record, "curve/c": {**record, "summary": {}, "usd": 0.0}}
    bill = Bill(stages, records, {**dict.fromkeys(shards, estimate), "curve/c": CostEstimate()})
    curve, made, reused = bill.rows()
    assert (made.stage, made.reused, made.planned_tokens, made.spent_tokens) == ("traces/a", False, 200, 70)
    assert (made.planned_usd, made.spent_usd, made.spent_device_seconds) == (0.04, 0.05, 12.0)
    assert (reused.reused, reused.planned_usd, reused.spent_usd) == (True, None, 0.05)
    assert (curve.spent_device_seconds, curve.spent_tokens, curve.spent_seconds) == (0.0, None, 3.0)
    assert (made.cells["reused"], reused.cells["reused"]) == ("no", "yes")
    assert bill.of_this_result() == (0.04, 0.05)
    assert bill.spent() == Spent(140, 180, 0.1, round(24 / 3600, 6))
    unknown = Bill(stages, records, None)
    assert {row.reused for row in unknown.rows()} == {None} and unknown.of_this_result() == (0, 0)


# ----------------------------------------------------------------------------------------- alerts, markers, training


def test_there_is_one_alert_of_each_kind() -> None:
    invalid = [f"max {each}" for each in range(8)]
    titles = [each.title for each in alerts.of_finished_scan("scan", "It rises.", invalid, 2.0, 3.1)]
    assert titles == ["scan: done", "scan: 8 invalid points", "scan: 1.6 times the planned price"]
    assert [each.title for each in alerts.of_finished_scan("scan", "", [], 2.0, 3.0)] == ["scan: done"]
    assert [each.title for each in alerts.of_finished_scan("scan", "", [], 0.0, 3.0)] == ["scan: done"]
    assert [each.title for each in alerts.of_finished_scan("scan", "", [], 0.01, 0.9)] == ["scan: done"]
    failed = alerts.of_failed_stages("scan", {"traces/a": "no memory.", "traces/b": "no memory."})
    assert failed.title == "scan: 2 failed stages" and failed.text == "traces/a, traces/b. no memory."


def test_an_alert_keeps_the_end_of_a_long_title() -> None:
    sent: list[tuple[str, str, str]] = []

    class Run:
        def alert(self, title: str, text: str, level: str) -> None:
            sent.append((title, text, level))

    alerts.send(Run(), alerts.of_failed_stages("n" * 200, {"traces/a": "x."}))  # type: ignore[arg-type]
    ((title, _, level),) = sent
    assert len(title) < 64 and title.endswith(": 1 failed stage") and level == "ERROR"


def test_a_marker_is_read_as_written_and_so_is_one_of_an_earlier_version(tmp_path: Path) -> None:
    assert read_marker(tmp_path) is None
    marker = Marker("1" * 16, "scan", None, {"scan": "9c1f"}, rows=3)
    write_marker(tmp_path, marker)
    assert read_marker(tmp_path) == marker
    (tmp_path / "wandb.json").write_text('{"id": "2", "group": "scan", "url": null}', encoding="utf-8")
    assert read_marker(tmp_path) == Marker("2", "scan", None)


def test_a_marker_says_nothing_of_another_project_or_team(tmp_path: Path) -> None:
    here = place_of(Track(wandb=True, project="a", entity="team"))
    write_marker(tmp_path, Marker("1", "scan", None, {"scan": "9c1f"}, place=here))
    marker = read_marker(tmp_path)
    assert marker is not None and marker.is_of("1", here, _no_server) and not marker.is_of("2", here, _no_server)
    for project, entity in (("b", "team"), ("a", None), ("a", "others")):
        assert not marker.is_of("1", place_of(Track(wandb=True, project=project, entity=entity)), _no_server)
    assert Marker("1", "scan", None).is_of("1", here, _no_server)  # of an earlier version


def _no_server() -> str:
    raise AssertionError("asked for the server")


def test_a_marker_of_an_online_run_says_nothing_of_another_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path, "wandb.json", "1", "team/a")
    monkeypatch.setattr("s1.track.wandb_mirror.server_of", lambda: "https://wandb.one")
    home.write(Marker("1", "scan", "https://wandb.one/team/a/runs/1", {"scan": "9c1f"}, rows=3))
    assert home.marker is not None and home.marker.rows == 3
    monkeypatch.setattr("s1.track.wandb_mirror.server_of", lambda: "https://wandb.two")
    assert home.marker is None
    home.write(Marker("1", "scan", None, {"scan": "9c1f"}))  # offline: `wandb sync` sends it anywhere
    monkeypatch.setattr("s1.track.wandb_mirror.server_of", _no_server)
    assert home.marker is not None


@pytest.mark.parametrize("content", ["", '{"id": "1', "[1]", "null", '{"id": "1"}', '{"id": "1", "later": 2}', "\x00"])
def test_a_damaged_marker_is_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "wandb.json").write_text(content, encoding="utf-8")
    assert read_marker(tmp_path) is None


def test_with_wandb_disabled_nothing_counts_as_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")

    def plan() -> RunPlan:
        raise AssertionError("planned")

    Mirror(Track(wandb=True, project="p", entity=None), "scan", tmp_path, lambda: "id", plan).finished("scores/1")
    assert not list(tmp_path.iterdir())


def test_a_run_that_another_process_sends_is_not_reported_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("is_done", "digest", "equals", "generation"):
        value = {"is_done": True, "digest": "9c1f", "equals": [], "generation": 0}[name]
        monkeypatch.setattr(FinishedStages, name, lambda *_, value=value: value)
    run = Tracked(JobType.SUMMARY, "report/1", "scan", (), "", {})
    holders = [nullcontext(False), nullcontext(True)]
    track = Track(wandb=True, project="p", entity=None)
    mirror = Mirror(track, "scan", tmp_path, lambda: "id", lambda: RunPlan([run], {}), lambda _: holders.pop(0))
    assert mirror.unsent() == ["scan"]
    mirror.finished("report/1")
    assert mirror.unsent() == []
    monkeypatch.setattr("s1.track.wandb_mirror.open_run", lambda *_: (_ for _ in ()).throw(ConnectionError("gone")))
    mirror.finished("report/1")  # the other one has ended, and now it fails here
    assert mirror.unsent() == ["scan"]


class _Server(BaseHTTPRequestHandler):
    status = 200

    def do_POST(self) -> None:
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.mark.parametrize(("status", "is_well"), [(200, True), (400, True), (401, True), (500, False), (503, False)])
def test_a_server_is_asked_before_a_run_is_opened(status: int, is_well: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Server, "status", status)
    with HTTPServer(("127.0.0.1", 0), _Server) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        with nullcontext() if is_well else pytest.raises(ConnectionError, match=str(status)):
            require_answer(f"http://127.0.0.1:{server.server_port}/")


def test_a_server_that_never_answers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s1.track.runs.ANSWER_TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ConnectionError, match="timed out"):
        require_answer(f"http://127.0.0.1:{silent.getsockname()[1]}")


def test_training_rows_get_the_names_of_the_charts() -> None:
    row = {"step": 3, "loss": 1.5, "learning_rate": 0.1, "grad_norm": 2.0, "tokens": 64}
    assert training_row(row) == {
        "train/step": 3,
        "train/loss": 1.5,
        "train/lr": 0.1,
        "train/grad_norm": 2.0,
        "train/tokens": 64,
    }


def test_the_run_of_a_vote_does_not_depend_on_the_other_points() -> None:
    single = planned("+experiment=smoke", "budget.aggregation=majority_vote", "budget.votes=2", "generate=sampled")
    both = planned("+experiment=smoke", "budget.aggregation=majority_vote", "budget.votes=2,4", "generate=sampled")

    def keys(plan: RunPlan) -> set[str]:
        return {run.run_key for run in plan.runs if run.job_type is JobType.POINT}

    assert keys(single) < keys(both)
    assert all("-" in key for key in keys(both))
