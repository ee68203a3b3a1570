"""`sweep watch` shows failures first, rates and time left; in a pipe, a line for every change."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from sweep.claims.holder import holder_text, this_process
from sweep.claims.store_hold import sweeps_at_work
from sweep.cli import watch_screen
from sweep.cli.main import main
from sweep.cli.watch_screen import follow
from sweep.cli.watch_stages import Look, StoreStages, SubmissionStages
from sweep.cli.watch_view import History, Snapshot, WatchedStage, WatchState, changes, rate_text, screen
from sweep.console import Console
from sweep.slurm import client
from sweep.slurm.status import SlurmInfo
from sweep.store.directory import StageDirectory, Store, write_json
from tests.support.submissions import fan, written

MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB. Lower machine.slots, or choose a larger GPU for this model."
LOG = "/scratch/me/project/store/submissions/20261126-101500-budget_scan/logs/04-traces_2.txt"


def training(done: int, note: str = "") -> WatchedStage:
    return WatchedStage("checkpoint/41687fbbc3b5", WatchState.RUNNING, "laptop on dial_1k", done, 800, "steps", note)


def traces(key: int, done: int, total: int = 500) -> WatchedStage:
    address, label = f"traces/{key:012x}", f"max {key}"
    return WatchedStage(address, WatchState.RUNNING, label, done, total, "traces", worker="n17 4242")


def stages(of: WatchState, name: str, count: int, note: str = "") -> list[WatchedStage]:
    return [WatchedStage(f"{name}/{of.value}{at}", of, f"{name} {at}", note=note) for at in range(count)]


def snapshot(at_s: float, shown: Sequence[WatchedStage]) -> Snapshot:
    return Snapshot("20261126-101500-budget_scan", tuple(shown), at_s, f"12:{at_s // 60:02.0f}:{at_s % 60:02.0f}")


FAILED = WatchedStage("traces/9f3c1ab2d4e5", WatchState.FAILED, "Wait x4", note=MEMORY, log=LOG)
OTHERS = [
    *stages(WatchState.DONE, "pool", 1),
    *stages(WatchState.DONE, "curated", 1),
    *stages(WatchState.WAITING, "scores", 16, "Dependency"),
    *stages(WatchState.WAITING, "curve", 1),
    *stages(WatchState.STUCK, "scores", 3, "blocked"),
]


def followed(*snapshots: Snapshot) -> History:
    history = History()
    for each in snapshots:
        history = history.with_snapshot(each)
    return history


@pytest.mark.parametrize("columns", [80, 120])
def test_a_screen_at_two_widths(columns: int, golden: Callable[[str, str], None]) -> None:
    first = snapshot(0, [training(100), traces(8, 0), traces(16, 20), *OTHERS])
    idle = training(162, "last progress 3 min ago")
    now = snapshot(60, [*OTHERS, idle, traces(8, 100), traces(16, 75), traces(32, 0, 0), FAILED])
    lines = [each.text for each in screen(now, followed(first, now), columns)]
    assert lines.index("failed") <= 2
    assert max(len(each) for each in lines if LOG not in each) <= columns
    golden(f"cli/watch/screen-{columns}.txt", "\n".join(lines) + "\n")


def test_what_changed_in_a_pipe(golden: Callable[[str, str], None]) -> None:
    finished = WatchedStage("pool/aaaaaaaaaaaa", WatchState.DONE, "dial_1k")
    waiting = replace(training(0), state=WatchState.WAITING)
    took = [
        snapshot(0, [replace(finished, state=WatchState.RUNNING), waiting, FAILED]),
        snapshot(10, [finished, training(0), FAILED]),
        snapshot(20, [finished, training(79), FAILED]),  # not a tenth yet
        snapshot(30, [finished, training(80), FAILED]),
        snapshot(40, [finished, replace(training(0), state=WatchState.FAILED, note="no disk", log="log.txt"), FAILED]),
    ]
    history, before, lines = History(), None, []
    for each in took:
        history = history.with_snapshot(each)
        lines += changes(before, each, history)
        before = each
    golden("cli/watch/pipe.txt", "\n".join(lines) + "\n")


def test_a_rate_is_over_what_was_seen_and_begins_again_with_another_attempt() -> None:
    seen = [snapshot(at_s, [training(done)]) for at_s, done in ((0, 100), (30, 131), (60, 162))]
    assert followed(*seen).per_minute("checkpoint/41687fbbc3b5") == pytest.approx(62)
    assert followed(seen[0]).per_minute("checkpoint/41687fbbc3b5") is None
    assert followed(*seen, snapshot(90, [training(5)])).per_minute("checkpoint/41687fbbc3b5") is None
    later = [
        snapshot(400, [training(200)]),
        snapshot(430, [training(210)]),
    ]  # what is older than the window is forgotten
    assert followed(*seen, *later).per_minute("checkpoint/41687fbbc3b5") == pytest.approx(20)


@pytest.mark.parametrize(
    ("per_minute", "text"), [(1234.4, "1,234/min"), (9.96, "10.0/min"), (0.5, "30/h"), (0.01, "0.6/h")]
)
def test_rates_in_words(per_minute: float, text: str) -> None:
    assert rate_text(per_minute) == text


class Played:
    """What is followed, from values."""

    title, interval_s, advice = "store", 0.0, "Run it again."

    def __init__(self, looks: Sequence[Look]) -> None:
        self.looks = list(looks)

    def look(self) -> Look:
        return self.looks.pop(0)


@pytest.mark.parametrize(
    ("last", "status"),
    [
        (Look((replace(FAILED, state=WatchState.DONE),), True), 0),  # done ends it, whatever holds the store
        (Look((FAILED,), False), 1),
        (Look((replace(FAILED, state=WatchState.WAITING),), False), 1),
        (Look((), False), 0),
    ],
)
@pytest.mark.parametrize("is_terminal", [True, False])
def test_it_ends_when_nothing_runs_any_more(last: Look, status: int, is_terminal: bool) -> None:
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=is_terminal)
    played = Played([Look((replace(FAILED, state=WatchState.RUNNING),), True), last])
    assert follow(console, [played]) == status
    assert played.looks == []
    assert ("Nothing runs any more. Run it again." in file.getvalue()) == bool(status)


@pytest.mark.parametrize(("every_s", "slept"), [(None, 0.0), (30.0, 30.0)])
def test_how_often_it_looks_can_be_chosen(every_s: float | None, slept: float, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(watch_screen.time, "sleep", pauses.append)
    finished = replace(FAILED, state=WatchState.DONE)
    played = Played([Look((replace(FAILED, state=WatchState.RUNNING),), True), Look((finished,), False)])
    assert follow(Console(file=io.StringIO()), [played], every_s) == 0
    assert pauses == [slept]


def prepared(store: Path, name: str, label: str) -> StageDirectory:
    directory = StageDirectory(store / name / "aaaaaaaaaaaa")
    directory.path.mkdir(parents=True)
    write_json(directory.stage_file, {"label": label})
    return directory


def test_a_store_is_followed_by_its_locks_progress_and_failures(tmp_path: Path) -> None:
    (tmp_path / f".shared-{this_process().token}.json").write_text(holder_text(this_process()))
    earlier = prepared(tmp_path, "pool", "of an earlier run")
    os.utime(earlier.stage_file, (1.0, 1.0))
    for name in ("checkpoint", "traces", "scores", "curve"):
        prepared(tmp_path, name, name)
    running, failed, done = (
        StageDirectory(tmp_path / f"{name}/aaaaaaaaaaaa") for name in ("checkpoint", "traces", "scores")
    )
    (running.path / "worker.json").write_text(holder_text(this_process()))
    running.progress_file.write_text(json.dumps({"done": 3, "total": 12, "unit": "steps"}))
    write_json(failed.failed_file, {"message": "no disk"})
    write_json(done.record_file, {})
    look = StoreStages(Store(tmp_path)).look()
    assert look.is_alive and len(sweeps_at_work(tmp_path)) == 1
    found = {each.name: (each.state, each.done, each.total, each.note) for each in look.stages}
    assert found == {
        "checkpoint": (WatchState.RUNNING, 3, 12, ""),
        "traces": (WatchState.FAILED, 0, 0, "no disk"),
        "scores": (WatchState.DONE, 0, 0, ""),
        "curve": (WatchState.WAITING, 0, 0, ""),
    }


def test_a_token_of_a_process_that_ended_does_not_run(tmp_path: Path) -> None:
    ended = holder_text(replace(this_process(), started=1))
    directory = prepared(tmp_path, "traces", "max 8")
    (directory.path / "worker.json").write_text(ended)
    (tmp_path / f".shared-{this_process().token}.json").write_text(ended)
    assert sweeps_at_work(tmp_path) == []
    assert StoreStages(Store(tmp_path)).look() == Look((), False)


def test_with_nothing_to_follow_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "--store", str(tmp_path)]) == 0
    assert f"nothing is being made in {tmp_path}." in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_submission_takes_no_fields(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "20261126-101500-budget_scan", "seed=1", "--store", str(tmp_path)]) == 1
    assert "watch 20261126-101500-budget_scan: seed=1: a submission has its own fields." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (SlurmInfo("PENDING", "Priority"), (WatchState.WAITING, "Priority", True)),
        (SlurmInfo("RUNNING", "None"), (WatchState.RUNNING, "", True)),
        (SlurmInfo("OUT_OF_MEMORY", exit_code="0:125"), (WatchState.FAILED, "OUT_OF_MEMORY", False)),
        (SlurmInfo("CANCELLED", cancelled_by="0"), (WatchState.STUCK, "cancelled", False)),
        (None, (WatchState.STUCK, "lost", False)),
    ],
)
def test_a_submission_is_followed_by_its_queue(
    state: SlurmInfo | None, expected: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = fan()
    directory = written(Store(tmp_path), total)
    for job in directory.read().jobs:
        directory.record_id(job.name, "17")
    seen = {} if state is None else {name: state for at in range(3) for name in ("17", f"17_{at}")}
    monkeypatch.setattr(client, "queued_jobs", lambda ids: seen if state is not None and state.is_alive else {})
    monkeypatch.setattr(client, "ended_jobs", lambda ids: (seen, "sacct"))
    look = SubmissionStages(directory).look()
    assert [each.name for each in look.stages] == ["start", "points", "points", "points", "total", "publish"]
    first = look.stages[0]
    assert (first.state, first.note, look.is_alive) == expected
