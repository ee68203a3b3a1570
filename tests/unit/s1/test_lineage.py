"""The lineage of a report: every stage behind the scores once, inputs first; no key in it depends on code."""

from __future__ import annotations

import re
from pathlib import Path

from s1 import pipeline
from s1.report.page import report
from s1.stages import LineageStage, ReportConfig
from sweep.config.compose import compose
from sweep.core.stage import CodePolicy, Stage
from sweep.plan.graph import plan
from tests.support.pages import section_of
from tests.support.scans import point, rows, run_curve, work


def planned(name: str) -> tuple[Stage, dict[str, Stage]]:
    composition = compose([f"+experiment={name}", "-m"])
    graph = pipeline.graph(composition.points, composition.request)
    return graph.artifact, {stage.address: stage for stage in plan([graph.artifact], lambda stage: False).needed}


def test_every_stage_up_to_the_traces_is_listed_once_after_its_inputs() -> None:
    artifact, stages = planned("smoke")
    lineage: list[LineageStage] = artifact.config.lineage
    addresses = [each.address for each in lineage]
    behind = {address for address, stage in stages.items() if stage.code is not CodePolicy.FINAL}
    assert len(addresses) == len(set(addresses)) and set(addresses) == behind
    for place, each in enumerate(lineage):
        assert set(each.inputs) <= set(addresses[:place])
    assert {address.split("/")[0] for address in addresses} >= {"pool", "curated", "checkpoint", "questions", "traces"}


def test_the_training_examples_of_a_scan_are_inputs_of_its_report() -> None:
    artifact, _ = planned("smoke")
    assert [stage.label for stage in artifact.inputs["curated"] if isinstance(stage, Stage)] == artifact.config.sets


def test_the_page_leads_from_scores_to_what_they_were_made_from(tmp_path: Path) -> None:
    curve = run_curve(tmp_path, [point(8, 0), point(16, 0)], [rows(3, 12, 9, 8), rows(6, 12, 9, 16)])
    lineage = [LineageStage("checkpoint/c0ffee", "a <b>model</b>", [])]
    lineage += [LineageStage(f"traces/{place:012x}", f"max {8 + 8 * place}", ["checkpoint/c0ffee"]) for place in (0, 1)]
    config = ReportConfig("scan", "", "python -m sweep", lineage=lineage)
    made = work(config, {"curve": [curve]}, tmp_path / "report" / "facade000000" / "out")
    report(made)
    section = section_of((made.out / "report.html").read_text(encoding="utf-8"), "lineage")
    assert set(re.findall(r'href="#(.*?)"', section)) <= set(re.findall(r'id="(.*?)"', section))
    assert "scores/000000000001@d001</td>" in section and 'href="#stage-traces/000000000001"' in section
    assert "a &lt;b&gt;model&lt;/b&gt;" in section


def test_a_report_of_an_older_plan_has_no_lineage(tmp_path: Path) -> None:
    curve = run_curve(tmp_path, [point(8, 0)], [rows(3, 12, 9, 8)])
    made = work(ReportConfig("scan", "", "sweep"), {"curve": [curve]}, tmp_path / "report" / "facade000000" / "out")
    report(made)
    assert 'id="lineage"' not in (made.out / "report.html").read_text(encoding="utf-8")
