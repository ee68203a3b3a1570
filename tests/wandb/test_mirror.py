"""The mirror, on a real W&B protocol server where there is one, and offline where there is none."""

from __future__ import annotations

import dataclasses  # noqa: F401  `send` runs code with these names
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from s1.config.resources import Track
from s1.report.tables import read_table
from s1.track.wandb_mirror import Mirror, Tracked, run_id
from sweep.core.provenance import PROJECT
from sweep.store.checksums import digest_of, file_states
from tests.support.requirements import need

STORE = "5f0c1d2e3a4b5c6d"
ANSWERS = "{}\n"
RUN = run_id(STORE, "0123456789ab", 0)
REPORT_RUN = run_id(STORE, "ba9876543210", 0)
SAMPLES = "label,k,maj,key\nmax 8,1,0.25,2fc25270e4b2\nmax 8,2,0.375,2fc25270e4b2\n"
TABLE = (
    "label,accuracy,thinking_tokens,note,key\n"
    "max 8,0.25,8.0,,2fc25270e4b2\nmax 16,0.5,15.5,ok,729325237762\nmax 32,0.5,31.0,1e5,12345678e123\n"
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A W&B-compatible server on loopback, from its own environment: `make test` makes it."""
    executable = os.environ.get("S1_WANDB_SERVER")
    need(executable, "S1_WANDB_SERVER is not set: no W&B server", "make test-all, or S1_WANDB_SERVER=.../bin/openwandb")
    assert executable
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [executable, "serve", "--host", "127.0.0.1", "--port", str(port), "--data-dir", str(tmp_path / "server")]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=10)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def stage_directory(root: Path, name: str, files: Mapping[str, str] | None = None) -> Path:
    """A finished stage with these files, `traces.jsonl` beside them."""
    path = root / name
    (path / "out").mkdir(parents=True)
    for file, text in {"traces.jsonl": ANSWERS, **(files or {})}.items():
        (path / "out" / file).write_text(text, encoding="utf-8")
    record = {
        "identity": {"name": name, "config": {"budget": {"max_thinking_tokens": 8}}},
        "summary": {"accuracy": 0.25},
        "seconds": 2.0,
        "usd": 0.01,
        "files": file_states(path / "out"),
    }
    (path / "record.json").write_text(json.dumps(record), encoding="utf-8")
    (path / "stage.json").write_text('{"request_key": null}', encoding="utf-8")
    return path


def mirror(root: Path, wandb: bool = True) -> Mirror:
    return Mirror(Track(wandb=wandb, project="s1-test", entity=None), "budget_scan", root / "wandb", lambda: STORE)


def tracked(job_type: str, key: str = "0123456789ab") -> Tracked:
    return Tracked(job_type, key, "max 8", {"budget": {"max_thinking_tokens": 8}})


def send(root: Path, call: str, **variables: str) -> str:
    """Mirror in a process of its own, as a sweep would, with no credentials but the given; what it logged."""
    code = f"from pathlib import Path; from tests.wandb.test_mirror import *; m = mirror(Path({str(root)!r})); {call}"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    environment = {**inherited, "HOME": str(root / "home"), "NETRC": str(root / "home" / ".netrc"), **variables}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stderr


def logged_in(server: str) -> dict[str, str]:
    return {"WANDB_BASE_URL": server, "WANDB_API_KEY": "local" + "0" * 39}


def test_a_run_is_named_by_store_key_and_generation() -> None:
    ids = {
        run_id(STORE, "0123456789ab", 0),
        run_id(STORE, "0123456789ab", 1),
        run_id("5f0c1d2e3a4b5c6e", "0123456789ab", 0),
        run_id(STORE, "0123456789ac", 0),
        run_id(STORE + "/0123456789ab", "0", 0),
    }
    assert len(ids) == 5 and all(re.fullmatch("[0-9a-f]{16}", each) for each in ids)
    assert run_id(STORE, "0123456789ab", 0) == RUN


def test_a_point_becomes_a_run_with_key_and_digest(server: str, home: Path) -> None:
    metrics = '{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n'
    path = stage_directory(home, "checkpoint", {"metrics.jsonl": metrics})
    send(home, f"m.stage(tracked('checkpoint'), Path({str(path)!r}))", **logged_in(server))
    (run,) = _get(f"{server}/api/v2/projects/default/s1-test/runs")["runs"]
    assert (run["run_id"], run["display_name"], run["state"]) == (RUN, "max 8", "finished")
    config = json.loads(run["config_json"])
    assert config["budget"]["value"] == {"max_thinking_tokens": 8}
    assert (config["key"]["value"], config["digest"]["value"]) == (
        "0123456789ab",
        digest_of(file_states(path / "out")),
    )
    losses = _get(f"{server}/api/v2/runs/{RUN}/metrics")["metrics_by_key"]["loss"]
    assert [each["value"] for each in losses] == [2.0, 1.0]


def test_the_summary_run_carries_the_curve(server: str, home: Path) -> None:
    path = stage_directory(home, "report", {"table.csv": TABLE, "report.html": "<h1>report</h1>"})
    send(home, f"m.summary(tracked('report', 'ba9876543210'), Path({str(path)!r}))", **logged_in(server))
    files = home / "server" / "files" / "default" / "s1-test" / REPORT_RUN / "media"
    (curve,) = files.glob("table/curve_*.table.json")
    assert json.loads(curve.read_text(encoding="utf-8"))["data"] == [
        ["max 8", 0.25, 8.0, None, "2fc25270e4b2"],
        ["max 16", 0.5, 15.5, "ok", "729325237762"],
        ["max 32", 0.5, 31.0, "1e5", "12345678e123"],
    ]
    assert len(list(files.glob("html/report_*.html"))) == 1


def test_several_samples_are_a_table_and_a_plot_of_the_summary_run(server: str, home: Path) -> None:
    files = {"table.csv": TABLE, "samples.csv": SAMPLES, "report.html": "<h1>report</h1>"}
    path = stage_directory(home, "report", files)
    send(home, f"m.summary(tracked('report', 'ba9876543210'), Path({str(path)!r}))", **logged_in(server))
    tables = home / "server" / "files" / "default" / "s1-test" / REPORT_RUN / "media" / "table"
    (samples,) = tables.glob("samples_*.table.json")
    assert json.loads(samples.read_text(encoding="utf-8"))["data"][1] == ["max 8", 2, 0.375, "2fc25270e4b2"]
    (plotted,) = tables.glob("majority_table_*.table.json")
    assert json.loads(plotted.read_text(encoding="utf-8"))["data"][1] == [2, 0.375, "max 8 2fc25270e4b2"]


def test_without_a_login_the_run_is_kept_offline_and_made_once(home: Path) -> None:
    path = stage_directory(home, "scores")
    send(home, f"[m.stage(tracked('scores'), Path({str(path)!r})) for _ in range(2)]")
    assert len(list((home / "wandb").glob(f"offline-run-*-{RUN}/run-{RUN}.wandb"))) == 1


def test_made_anew_or_in_a_copied_store_it_is_a_run_of_its_own(home: Path) -> None:
    path = stage_directory(home, "scores")
    record = json.loads((path / "record.json").read_text(encoding="utf-8"))
    send(home, f"m.stage(tracked('scores'), Path({str(path)!r}))")
    (path / "record.json").write_text(json.dumps({**record, "generation": 1}), encoding="utf-8")
    send(home, f"m.stage(tracked('scores'), Path({str(path)!r}))")
    send(home, f"m.store_id = lambda: 'copy'; m.stage(tracked('scores'), Path({str(path)!r}))")
    made = {each.name.rpartition("-")[2] for each in (home / "wandb").glob("offline-run-*")}
    assert made == {RUN, run_id(STORE, "0123456789ab", 1), run_id("copy", "0123456789ab", 1)}


def test_a_stage_of_other_code_and_the_same_bytes_is_no_new_run(home: Path) -> None:
    before, after = stage_directory(home, "0123456789ab"), stage_directory(home, "ba9876543210")
    for path in (before, after):
        (path / "stage.json").write_text(json.dumps({"request_key": "asked"}), encoding="utf-8")
        record = json.loads((path / "record.json").read_text(encoding="utf-8"))
        (path / "record.json").write_text(json.dumps({**record, "request_key": "asked"}), encoding="utf-8")
    send(home, f"m.stage(tracked('scores'), Path({str(before)!r}))")
    send(home, f"m.stage(dataclasses.replace(tracked('scores'), key='ba9876543210'), Path({str(after)!r}))")
    assert [path.name.rpartition("-")[2] for path in (home / "wandb").glob("offline-run-*")] == [RUN]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("import wandb; wandb.init = lambda **_: 1 / 0", "ZeroDivisionError"),
        ("import sys; sys.modules['wandb'] = None", "ModuleNotFoundError"),
        ("import wandb; wandb.init = lambda **_: sys.exit('no account')", "SystemExit"),
        ("import wandb; wandb.Table = lambda **_: (_ for _ in ()).throw(TypeError('not assignable'))", "TypeError"),
        ("(path / 'out' / 'table.csv').write_text('label,accuracy\\na,1\\n')", "changed since it was published"),
        ("(path / 'out' / 'report.html').unlink()", "FileNotFoundError"),
        ("(path / 'record.json').write_text('{')", "JSONDecodeError"),
    ],
)
def test_whatever_is_raised_on_the_way_is_one_warning(home: Path, fault: str, said: str) -> None:
    path = stage_directory(home, "report", {"table.csv": TABLE, "report.html": "<h1>report</h1>"})
    call = "[m.summary(tracked('report'), path) for _ in range(2)]; print('went on', file=sys.stderr)"
    told = send(home, f"path = Path({str(path)!r}); {fault}; {call}")
    assert told.count("the result is complete without it") == 1
    assert said in told and "Traceback" not in told and told.rstrip().endswith("went on")
    assert not (path / "wandb.json").exists()


def test_the_traceback_of_a_failed_mirror_is_in_the_log_for_who_debugs(home: Path) -> None:
    path = stage_directory(home, "scores")
    fault = "import logging, wandb; logging.basicConfig(level=logging.DEBUG); wandb.init = lambda **_: 1 / 0"
    assert "Traceback" in send(home, f"{fault}; m.stage(tracked('scores'), Path({str(path)!r}))")


def test_an_interruption_is_not_swallowed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("wandb.init", interrupted)
    monkeypatch.setattr("wandb.login", lambda **_: False)
    with pytest.raises(KeyboardInterrupt):
        mirror(home).stage(tracked("scores"), stage_directory(home, "scores"))


def test_an_unreachable_server_is_a_warning_and_not_a_lost_run(home: Path) -> None:
    path = stage_directory(home, "scores")
    said = send(
        home,
        "import s1.track.wandb_mirror; s1.track.wandb_mirror.INIT_TIMEOUT_S = 2;"
        f" m.stage(tracked('scores'), Path({str(path)!r}))",
        **logged_in("http://127.0.0.1:9"),
    )
    assert "the result is complete without it" in said
    assert not (path / "wandb.json").exists()


def test_nothing_is_sent_when_tracking_is_off(home: Path) -> None:
    path = stage_directory(home, "scores")
    mirror(home, wandb=False).stage(tracked("scores"), path)
    assert not (home / "wandb").exists() and not (path / "wandb.json").exists()


def test_a_gap_in_the_table_is_none_and_numbers_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(TABLE, encoding="utf-8")
    assert read_table(path)[0] == {
        "label": "max 8",
        "accuracy": 0.25,
        "thinking_tokens": 8.0,
        "note": None,
        "key": "2fc25270e4b2",
    }


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def _wait_for(url: str) -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"{url}: no answer")
