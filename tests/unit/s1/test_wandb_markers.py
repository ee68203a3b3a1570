"""Markers say what was sent and where; a server is asked whether it answers before anything is sent."""

from __future__ import annotations

import socket
import threading
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from s1.config.resources import Track
from s1.track.plan_runs import RunPlan
from s1.track.runs import Marker, place_of, read_marker, require_answer, write_marker
from s1.track.wandb_mirror import Mirror


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
    assert marker is not None and marker.is_of("1", here) and not marker.is_of("2", here)
    for project, entity in (("b", "team"), ("a", None), ("a", "others")):
        assert not marker.is_of("1", place_of(Track(wandb=True, project=project, entity=entity)))
    assert Marker("1", "scan", None).is_of("1", here)  # of an earlier version


def test_with_wandb_disabled_nothing_counts_as_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")

    def plan() -> RunPlan:
        raise AssertionError("planned")

    Mirror(Track(wandb=True, project="p", entity=None), "scan", tmp_path, lambda: "id", plan).finished("scores/1")
    assert not list(tmp_path.iterdir())


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
