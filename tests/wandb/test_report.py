"""`sweep report --wandb` as a user gives it: what the server has afterwards, read back from the stored views."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sweep.core.provenance import PROJECT
from tests.support.smoke import User, environment
from tests.support.wandb_server import WandbServer

pytestmark = pytest.mark.slow
NAME = "s1-report"  # of the project

# One process for all commands: each of them alone would load numpy and wandb again.
SCRIPT = """
import contextlib, io, json, sys, urllib.request
from sweep.cli.main import main
from tests.support.mirroring import Path, mirror
store, results, project, server = json.loads(sys.argv[1])
places = [f"store={store}", f"results={results}"]

def said(*words):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([*words, *places])
    return [status, out.getvalue(), err.getvalue()]

def refuse(*fields):
    urllib.request.urlopen(urllib.request.Request(f"{server}/shim/refuse", json.dumps(fields).encode())).close()

report = ("report", "smoke", "--wandb")
answers = {"unsent": said(*report)}
mirror(Path(store), project)
answers |= {"first": said(*report), "again": said(*report)}
answers["elsewhere"] = said(*report, "--project", "default/elsewhere")
refuse("upsertView")
answers["refused"] = said(*report)
refuse("createCustomChart")
answers["no charts"] = said(*report)
refuse()
json.dump(answers, open(sys.argv[2], "w"))
"""


@dataclass(frozen=True)
class Answer:
    status: int
    out: str
    errors: str


@dataclass(frozen=True)
class Reported:
    answers: dict[str, Answer]
    state: dict[str, Any]  # of the server at the end

    @property
    def views(self) -> list[dict[str, Any]]:
        return [view for view in self.state["views"].values() if view["projectName"] == NAME]

    @property
    def runs(self) -> list[dict[str, Any]]:
        return [run for run in self.state["runs"].values() if run["project"] == NAME]

    def view(self, kind: str) -> dict[str, Any]:
        (view,) = (each for each in self.views if each["type"] == kind)
        return {**view, "spec": json.loads(view["spec"])}


@pytest.fixture(scope="module")
def reported(smoke_scan: Path, wandb_service: WandbServer, tmp_path_factory: pytest.TempPathFactory) -> Reported:
    """A finished scan that nobody sent; then mirrored, and reported several times."""
    home = tmp_path_factory.mktemp("reported")
    shutil.copytree(smoke_scan, home, symlinks=True, dirs_exist_ok=True)
    for marker in (home / "store").glob("*/*/wandb*.json"):
        marker.unlink()
    user = User(home)
    given = json.dumps([str(user.store), str(user.results), NAME, wandb_service.url])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, given, str(home / "answers.json")],
        cwd=PROJECT,
        env={**environment(), **wandb_service.environment, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answers = json.loads((home / "answers.json").read_text(encoding="utf-8"))
    return Reported({name: Answer(*answer) for name, answer in answers.items()}, wandb_service.state())


def test_a_result_that_was_not_sent_says_what_to_run(reported: Reported) -> None:
    answer = reported.answers["unsent"]
    assert answer.status == 1 and "has no run on W&B yet. Mirror it first: sweep sync" in answer.errors


def test_report_and_workspace_are_made_once_and_then_updated(reported: Reported) -> None:
    first, again = reported.answers["first"], reported.answers["again"]
    assert first.status == 0 and first.errors == ""
    assert first.out == again.out
    assert [line.partition(": http")[0] for line in first.out.splitlines()] == ["report", "workspace"]
    assert sorted(view["type"] for view in reported.views) == ["project-view", "runs"]


def test_the_stored_report_has_every_section_in_order(reported: Reported) -> None:
    view = reported.view("runs")
    assert (view["displayName"], view["description"]) == ("smoke", "Every stage runs.")
    blocks = [block for block in view["spec"]["blocks"] if block["type"] != "paragraph"]
    assert blocks[0]["type"] == "table-of-contents"
    assert [block["children"][0]["text"] for block in blocks if block["type"] == "heading"] == [
        *("Claim and verdict", "Scaling", "Differences", "Points", "Samples", "Audit", "Training"),
        *("Cost planned and spent", "Lineage", "Reproduce"),
    ]
    assert blocks[-2]["type"] == "code-block"


def test_the_stored_panels_draw_from_runs_that_exist(reported: Reported) -> None:
    """What the filters name is what the mirror wrote: job types, the group and the keys in the config."""
    grids = [block["metadata"] for block in reported.view("runs")["spec"]["blocks"] if block["type"] == "panel-grid"]
    written = [run["written"] for run in reported.runs]
    names = {"group": "groupName", "jobType": "jobType"}
    for grid in grids:
        wanted = {each["key"]["name"]: each["value"] for each in grid["runSets"][0]["filters"]["filters"]}
        keys = [
            json.loads(run["config"])["key"]["value"]
            for run in written
            if all(run[names[name]] == wanted[name] for name in names)
        ]
        assert keys and set(keys) == set(wanted["key"])


def test_the_stored_chart_is_the_preset_over_the_table_that_the_summary_run_has(reported: Reported) -> None:
    (chart,) = reported.state["charts"].values()
    assert (chart["name"], chart["access"]) == ("s1-scaling", "PRIVATE")
    workspace = reported.view("project-view")
    assert workspace["displayName"] == "smoke: scaling"
    sections = workspace["spec"]["section"]["panelBankConfig"]["sections"]
    assert [section["name"] for section in sections] == ["Scaling", "Cost", "Audit", "Samples", "Training"]
    (summary,) = (run for run in reported.runs if run["written"].get("jobType") == "summary")
    assert "curve" in json.loads(summary["lines"]["wandb-summary.json"][-1])


def test_a_server_that_refuses_is_one_line_and_status_1(reported: Reported) -> None:
    refused, elsewhere = reported.answers["refused"], reported.answers["elsewhere"]
    assert (refused.status, elsewhere.status) == (1, 1)
    assert "W&B refused or did not answer" in refused.errors and "Traceback" not in refused.errors
    assert "no run default/elsewhere/" in elsewhere.errors and "sweep sync" in elsewhere.errors


def test_without_custom_charts_the_report_says_how_it_draws(reported: Reported) -> None:
    answer = reported.answers["no charts"]
    assert answer.status == 0
    assert "this server has no custom charts" in answer.out
    (grid, *_) = (block for block in reported.view("runs")["spec"]["blocks"] if block["type"] == "panel-grid")
    charts = [panel for panel in grid["metadata"]["panelBankSectionConfig"]["panels"] if panel["viewType"] == "Vega2"]
    assert [chart["config"]["panelDefId"] for chart in charts] == ["wandb/line/v0"]
