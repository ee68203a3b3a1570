"""Markers say what was sent and where; a server is asked whether it answers before anything is sent."""

from __future__ import annotations

import socket
import threading
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from s1.config.resources import Track
from s1.track.finished import FinishedStages
from s1.track.plan_runs import RunPlan
from s1.track.runs import JobType, Marker, place_of, read_marker, require_answer, write_marker
from s1.track.tracked import Tracked
from s1.track.wandb_mirror import Home, Mirror


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
