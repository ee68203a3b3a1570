"""Whatever goes wrong with W&B is a warning; which run a stage has; offline runs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s1.config.resources import Track
from s1.track.finished import FinishedStages
from s1.track.runs import JobType, RunIdentity, open_run, run_id
from sweep.store.directory import StageDirectory, Store
from sweep.store.generations import supersede
from tests.support.mirroring import graph, mirror_graph, offline_runs
from tests.support.smoke import environment
from tests.support.surroundings import PROJECT


def _raises(error: BaseException) -> Callable[..., Any]:
    def fails(*_: object, **__: object) -> Any:
        raise error

    return fails


@pytest.fixture
def offline(smoke_scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of a smoke scan, for mirrors without a server."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    shutil.copytree(smoke_scan / "store", tmp_path / "store", symlinks=True)
    return tmp_path / "store"


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("wandb.init", ZeroDivisionError("by zero")),
        ("wandb.init", SystemExit("no account")),
        ("wandb.Table", TypeError("not assignable")),
        ("s1.track.finished.FinishedStages.checked", ValueError("changed since it was published")),
        ("s1.track.runs.write_marker", OSError("no space")),
    ],
)
def test_whatever_is_raised_on_the_way_is_one_warning(
    offline: Path,
    target: str,
    error: BaseException,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    planned = graph(offline, "faults")
    monkeypatch.setattr(target.replace("runs.write", "wandb_mirror.write"), _raises(error))
    for _ in range(2):
        mirror_graph(planned, offline, "report")
    (said,) = [each.message for each in caplog.records if each.levelname == "WARNING"]
    assert "the result is complete without it" in said and str(error) in said
    assert not list(offline.glob("report/*/wandb.json"))


@pytest.mark.parametrize("name", ["curve/*/out/curve.json", "report/*/out/report.html", "report/*/record.json"])
def test_a_damaged_file_is_not_mirrored(offline: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    planned = graph(offline, "faults")
    (file,) = offline.glob(name)
    file.write_text("{}", encoding="utf-8")
    mirror_graph(planned, offline, "report")
    assert "the result is complete without it" in caplog.text and "Traceback" not in caplog.text
    assert not list(offline.glob("report/*/wandb.json"))


def test_an_interruption_is_not_swallowed(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = graph(offline, "faults")
    monkeypatch.setattr("wandb.init", _raises(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        mirror_graph(planned, offline, "scores")


def test_an_unreachable_server_is_tried_once_and_sync_says_what_is_missing(smoke_scan: Path, tmp_path: Path) -> None:
    shutil.copytree(smoke_scan / "store", tmp_path / "store", symlinks=True)
    nowhere = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "local" + "0" * 39, "WANDB_MODE": "online"}
    places = [f"store={tmp_path / 'store'}", f"results={tmp_path / 'results'}", "track.wandb=true", "-m"]
    command = [sys.executable, "-m", "sweep", "sync", "+experiment=smoke", *places]
    done = subprocess.run(
        command, cwd=PROJECT, env={**environment(), **nowhere}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stderr.count("the result is complete without it") == 1
    assert (done.returncode, done.stdout.count("finished: ")) == (1, 1)
    assert re.search(r"^sync: not mirrored: .*max 4.*max 16.*smoke\. ", done.stderr, re.MULTILINE)
    assert not list((tmp_path / "store").glob("*/*/wandb.json"))


def test_made_anew_or_in_a_copied_store_it_is_a_run_of_its_own(offline: Path) -> None:
    (record,) = offline.glob("checkpoint/*/record.json")
    mirror_graph(graph(offline, "anew"), offline, "checkpoint")
    content = json.loads(record.read_text(encoding="utf-8"))
    content["generation"] = 1
    del content["checksum"]
    record.write_text(json.dumps(content), encoding="utf-8")
    mirror_graph(graph(offline, "anew"), offline, "checkpoint")
    copy = offline.with_name("copy")
    shutil.copytree(offline, copy, symlinks=True)
    shutil.rmtree(copy / "wandb")
    mirror_graph(graph(copy, "anew"), copy, "checkpoint")
    ids = {each.name.split("-")[3] for store in (offline, copy) for each in offline_runs(store)}
    key = record.parent.name
    assert ids == {run_id(Store(offline).id, key, 0), run_id(Store(offline).id, key, 1), run_id(Store(copy).id, key, 1)}


def test_a_run_that_two_results_share_stays_in_its_group_and_is_tagged_with_both(offline: Path) -> None:
    mirror_graph(graph(offline, "shared"), offline, "checkpoint")
    mirror_graph(graph(offline, "shared", "name=other"), offline, "checkpoint")
    (path,) = offline.glob("checkpoint/*/wandb.json")
    marker = json.loads(path.read_text(encoding="utf-8"))
    assert (marker["group"], set(marker["sent"])) == ("smoke", {"smoke", "other"})
    assert len({each.name.split("-")[3] for each in offline_runs(offline)}) == 1


def test_the_run_of_a_stage_that_is_made_again_is_that_of_its_next_generation(offline: Path) -> None:
    (path,) = offline.glob("checkpoint/*")
    stages = FinishedStages(offline)
    address = f"checkpoint/{path.name}"
    assert stages.generation(address) == 0
    supersede(StageDirectory(path), 0)
    assert not stages.is_done(address) and stages.generation(address) == 1


def test_runs_that_are_open_at_the_same_time_are_two(offline: Path) -> None:
    track = Track(wandb=True, project="two", entity=None)
    names = ("0" * 16, "1" * 16)
    runs = [open_run(track, RunIdentity(each, JobType.POINT, each, "two"), offline / "wandb") for each in names]
    assert tuple(run.id for run in runs) == names
    for run in runs:
        run.finish()


def test_a_stage_of_other_code_and_the_same_bytes_is_no_new_run(offline: Path) -> None:
    (before,) = offline.glob("report/*")
    planned = graph(offline, "same")
    mirror_graph(planned, offline, "report")
    runs = offline_runs(offline)
    (before / "record.json").rename(before / "as-made.json")
    content = json.loads((before / "as-made.json").read_text(encoding="utf-8"))
    other = before.with_name("0123456789ab")
    shutil.copytree(before, other, symlinks=True)
    (before / "wandb.json").rename(other / "wandb.json")
    shutil.copyfile(before / "as-made.json", before / "record.json")
    content |= {"key": other.name}
    del content["checksum"]
    (other / "record.json").write_text(json.dumps(content), encoding="utf-8")
    marker = json.loads((other / "wandb.json").read_text(encoding="utf-8"))
    marker["id"] = run_id(Store(offline).id, other.name, 0)
    (other / "wandb.json").write_text(json.dumps(marker), encoding="utf-8")
    mirror_graph(graph(offline, "same"), offline, "report")
    assert offline_runs(offline) == runs


def test_nothing_is_planned_or_sent_when_tracking_is_off(offline: Path) -> None:
    mirror_graph(graph(offline, "off", wandb=False), offline)
    assert not (offline / "wandb").exists() and not list(offline.glob("*/*/wandb.json"))
