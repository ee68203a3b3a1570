"""The mirror on a real W&B protocol server: a smoke scan is mirrored, and what arrived is held against table.csv."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from s1.files.csv_files import Cell
from s1.report.tables import read_table
from s1.track import summary_run
from s1.track.point_run import BEFORE_CURVE, COLUMNS, KEYS
from s1.track.runs import places_on_server, run_id
from sweep.store.directory import StageDirectory, Store
from tests.support.mirroring import in_process, offline_runs
from tests.support.wandb_server import WandbServer

Numbers = Mapping[str, Any]
OF_CURVE = ("curve", "trace_archive", "report")


@dataclass
class Scan:
    """A finished smoke scan in a store of its own, and what a server has of it."""

    home: Path
    server: WandbServer
    project: str
    said: list[str] = field(default_factory=list)

    @property
    def store(self) -> Path:
        return self.home / "store"

    @property
    def table(self) -> dict[str, Mapping[str, Cell]]:
        """Rows of table.csv by key."""
        (path,) = self.home.glob("results/smoke/[0-9a-f]*/table.csv")
        return {str(row["key"]): row for row in read_table(path)}

    def mirror(self, *names: str, **variables: str) -> None:
        call = f"mirror(Path({str(self.store)!r}), {self.project!r}, *{names!r})"
        self.said.append(in_process(call, self.home, {**self.server.environment, **variables}))

    @contextmanager
    def without(self, *addresses: str) -> Iterator[None]:
        """While the context is open, these stages are not finished."""
        aside = self.home / "aside"
        for each in addresses:
            shutil.move(self.store / each / "record.json", aside.with_name(each.replace("/", "-")))
        yield
        for each in addresses:
            shutil.move(aside.with_name(each.replace("/", "-")), self.store / each / "record.json")

    def addresses(self, *names: str) -> list[str]:
        return [
            f"{path.parent.parent.name}/{path.parent.name}"
            for name in names
            for path in (self.store / name).glob("*/record.json")
        ]

    def run(self, address: str) -> Any:
        """The run of a stage, read as users read it."""
        import wandb

        api = wandb.Api(overrides={"base_url": self.server.url}, api_key=self.server.environment["WANDB_API_KEY"])
        return api.run(f"default/{self.project}/{self.id_of(address)}")

    def id_of(self, address: str) -> str:
        return run_id(Store(self.store).id, address.partition("/")[2], 0)

    def kept(self, address: str) -> dict[str, Any]:
        """The same as the server keeps it, with what wandb.Api does not read."""
        return self.server.state()["runs"][self.id_of(address)]


def copied(smoke_scan: Path, home: Path, server: WandbServer, project: str) -> Scan:
    for folder in ("store", "results"):
        shutil.copytree(smoke_scan / folder, home / folder, symlinks=True)
    return Scan(home, server, project)


@pytest.fixture(scope="module")
def scan(smoke_scan: Path, wandb_service: WandbServer, tmp_path_factory: pytest.TempPathFactory) -> Scan:
    """Mirrored twice: first while one point and the curve are missing, then complete."""
    made = copied(smoke_scan, tmp_path_factory.mktemp("mirror"), wandb_service, "mirrored")
    (waiting,) = [key for key, row in made.table.items() if row["label"] == "Wait x1"]
    with made.without(f"scores/{waiting}", *made.addresses(*OF_CURVE)):
        made.mirror()
        (made.home / "early.json").write_text(json.dumps(wandb_service.state()["runs"]), encoding="utf-8")
    made.mirror()
    return made


def numbers(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {key: summary[key] for key in KEYS if key in summary}


def expected(row: Mapping[str, Cell]) -> dict[str, Cell]:
    """The numbers of a point that table.csv has; W&B has no undefined ones."""
    wanted = {key: row[column] for key, column in COLUMNS.items() if key != "valid"}
    wanted |= {"valid": int(row["valid"] == "yes"), "seed": 0, "key": row["key"], "digest": row["digest"]}
    return {key: value for key, value in wanted.items() if value is not None}


def test_every_point_has_the_numbers_of_table_csv(scan: Scan) -> None:
    assert len(scan.table) == 3
    for key, row in scan.table.items():
        run = scan.run(f"scores/{key}")
        found = numbers(run.summary)
        assert {name: found[name] for name in expected(row)} == expected(row)
        compared = set(found) - set(expected(row))
        assert compared == ({"reference"} if found["reference"] == row["label"] else set(KEYS[19:23]))
        (line,) = [each for each in run.scan_history() if "accuracy" in each]
        assert numbers(line) == found
        assert (run.job_type, run.group, run.state) == ("point", "smoke", "finished")


def test_what_is_finished_is_mirrored_while_the_rest_is_missing(scan: Scan) -> None:
    early = json.loads((scan.home / "early.json").read_text(encoding="utf-8"))
    finished = {scan.id_of(address) for address in scan.addresses("checkpoint", "scores")}
    (waiting,) = [key for key, row in scan.table.items() if row["label"] == "Wait x1"]
    assert finished - set(early) == {scan.id_of(f"scores/{waiting}")}
    for key, row in scan.table.items():
        if key == waiting:
            continue
        run = early[scan.id_of(f"scores/{key}")]
        known = numbers(json.loads(run["lines"]["wandb-summary.json"][-1]))
        assert known == {name: value for name, value in expected(row).items() if name in BEFORE_CURVE}
        assert not run["lines"].get("wandb-history.jsonl")  # its one row comes with the curve


def test_mirroring_again_sends_nothing(scan: Scan) -> None:
    before = {name: run["starts"] for name, run in scan.server.state()["runs"].items()}
    scan.mirror()
    assert {name: run["starts"] for name, run in scan.server.state()["runs"].items()} == before
    assert not any("W&B" in each for each in scan.said), scan.said


def test_a_checkpoint_has_its_training_over_the_step(scan: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in scan.server.environment.items():
        monkeypatch.setenv(name, value)
    (address,) = scan.addresses("checkpoint")
    run, directory = scan.run(address), StageDirectory(scan.store / address)
    written = [json.loads(line) for line in (directory.out / "metrics.jsonl").read_text("utf-8").splitlines()]
    rows = [row for row in run.scan_history() if "train/loss" in row]
    assert [(row["train/step"], row["train/loss"], row["train/lr"]) for row in rows] == [
        (row["step"], row["loss"], row["learning_rate"]) for row in written
    ]
    assert list(places_on_server("/".join(run.path), "train/step")) == [row["step"] for row in written]
    assert {"train/grad_norm", "train/tokens"} <= set(rows[0])
    record = directory.read_record()
    assert (run.summary["train/tokens"], run.summary["train/usd"]) == (record["summary"]["tokens"], record["usd"])
    assert (run.job_type, run.name) == ("checkpoint", "laptop on dial_1k")


def test_runs_are_named_tagged_and_filtered_by_what_made_them(scan: Scan) -> None:
    run = scan.run(next(iter(scan.addresses("scores"))))
    assert run.name.startswith("laptop dial ") and run.notes == "Every stage runs."
    assert sorted(run.tags) == sorted(["smoke", "laptop", "dial", "transformers"])
    config = run.config
    assert (config["model"], config["task"], config["budget"]["policy"]) == ("laptop", "dial", "forcing")
    address = f"scores/{config['key']}"
    record = StageDirectory(scan.store / address).read_record()
    assert config["digest"] == StageDirectory(scan.store / address).digest
    assert config["versions"]["torch"] == record["provenance"]["packages"]["torch"]
    assert "commit" in config and not {"launch", "track"} & {*config, *config["point"]}


def test_the_summary_run_carries_the_scan(scan: Scan) -> None:
    (address,) = scan.addresses("report")
    run = scan.run(address)
    defined = set(summary_run.KEYS) - {"scaling", "scaling_lo", "scaling_hi", "slope"}  # no answer of it is right
    assert defined <= set(run.summary.keys())
    assert (run.summary["points"], run.summary["invalid_points"]) == (3, 0)
    assert run.summary["verdict"] == StageDirectory(scan.store / address).read_record()["summary"]["verdict"]
    assert 0 < run.summary["tokens_sampled"] < run.summary["tokens_from_scratch"] and run.summary["usd"] > 0
    files = scan.server.folder / "files" / "default" / scan.project / scan.id_of(address) / "media"
    tables = {name: _table(files, name) for name in ("curve", "differences", "audit", "traces", "costs")}
    for row in tables["curve"]:
        written = scan.table[row["key"]]
        assert {name: _cell(row[name], cell) for name, cell in written.items()} == written
    assert {row["stage"] for row in tables["costs"]} >= set(scan.addresses("checkpoint", "traces"))
    assert {row["point"] for row in tables["traces"]} == {row["label"] for row in tables["curve"]}
    assert all(row["question"] and row["gold"] for row in tables["traces"])
    assert len(list(files.glob("html/report_*.html"))) == 1


def test_the_chart_is_our_preset_over_the_whole_table(scan: Scan) -> None:
    (address,) = scan.addresses("report")
    assert "default/s1-scaling" in scan.server.state()["charts"]
    shown = json.dumps(scan.kept(address)["written"]["config"])
    assert "s1-scaling" in shown and "scaling_chart_table" in shown


def test_a_finished_scan_sends_its_verdict_once(scan: Scan) -> None:
    (address,) = scan.addresses("report")
    assert [each["title"] for each in scan.kept(address)["alerts"]] == ["smoke: done"]
    assert scan.kept(address)["alerts"][0]["text"] == scan.run(address).summary["verdict"]


def test_lineage_leads_from_the_data_to_the_summary_by_reference(scan: Scan) -> None:
    kept = scan.server.state()
    names = {each["id"]: each["collection"] for each in kept["artifacts"].values() if each["type"] != "run_table"}
    used = {name: {names[each] for each in run["uses"]} for name, run in kept["runs"].items() if run["uses"]}
    made: dict[str, set[str]] = {}
    for each in kept["artifacts"].values():
        made.setdefault(each["run"], set()).add(each["collection"])
    (checkpoint,), (report,) = scan.addresses("checkpoint"), scan.addresses("report")
    trained = f"checkpoint-{checkpoint.partition('/')[2]}"
    assert trained in made[scan.id_of(checkpoint)]
    assert any(name.startswith("data-") for name in used[scan.id_of(checkpoint)])
    for key in scan.table:
        point = scan.id_of(f"scores/{key}")
        (traces,) = [name for name in made[point] if name.startswith("traces-")]
        assert {trained, traces} <= used[point] and f"scores-{key}" in made[point]
    assert used[scan.id_of(report)] == {f"scores-{key}" for key in scan.table}
    assert not any("safetensors" in blob and "manifest" not in blob for blob in kept["blobs"])  # never uploaded


def test_without_its_marker_a_run_is_sent_again_and_has_no_second_row_and_no_second_alert(scan: Scan) -> None:
    point, report = scan.addresses("scores")[0], scan.addresses("report")[0]
    before = {each: scan.kept(each) for each in (point, report)}
    for each in (point, report):  # as if the process had been killed before it wrote them
        (scan.store / each / "wandb.json").unlink()
    scan.mirror()
    for each in (point, report):
        after = scan.kept(each)
        assert after["starts"] > before[each]["starts"] and after["alerts"] == before[each]["alerts"]
        assert (scan.store / each / "wandb.json").exists()
    assert scan.kept(point)["lines"]["wandb-history.jsonl"] == before[point]["lines"]["wandb-history.jsonl"]


def test_offline_runs_arrive_by_wandb_sync(smoke_scan: Path, wandb_service: WandbServer, tmp_path: Path) -> None:
    scan = copied(smoke_scan, tmp_path, wandb_service, "offline")
    service_of_a_parent = "3-1-unix-/nowhere"
    scan.mirror("scores", "report", WANDB_MODE="offline", WANDB_SERVICE=service_of_a_parent)
    runs = offline_runs(scan.store)
    assert len(runs) == 4
    sync = [sys.executable, "-m", "wandb", "sync", *map(str, runs)]
    variables = {**os.environ, **wandb_service.environment, "HOME": str(tmp_path)}
    # In its own folder: `wandb sync` leaves its logs in a folder `wandb` where it runs.
    done = subprocess.run(sync, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    for key, row in scan.table.items():
        found = numbers(scan.run(f"scores/{key}").summary)
        assert {name: found[name] for name in expected(row)} == expected(row)
    (address,) = scan.addresses("report")
    assert scan.run(address).summary["points"] == 3


def _cell(value: Any, written: Cell) -> Any:
    """A cell of W&B as read_table gives it: axes as text, an empty text as None."""
    if value is None or value == "":
        return None
    return str(value) if isinstance(written, str) else value


def _table(media: Path, name: str) -> list[dict[str, Any]]:
    (path,) = media.glob(f"table/{name}_*.table.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]
