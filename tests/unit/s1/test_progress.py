"""Progress of generation on the tail of a stage: it continues over attempts, and shows nothing where nothing moves."""

from __future__ import annotations

from pathlib import Path

from s1.generate.progress import GENERATE, GenerationProgress
from s1.track.runs import has_arrived, last_there
from sweep.store.tail import TailReader


class Opened:
    total = 4

    def __init__(self) -> None:
        self.closed: dict[tuple[int, int], object] = {}


class Attempt:
    """One process that generates, with a clock of its own."""

    def __init__(self, scratch: Path) -> None:
        self.now, self.sampled, self.stage = 100.0, {"a": 0}, Opened()
        self.progress = GenerationProgress(self.sampled, clock=lambda: self.now)
        self.progress.follow("a", self.stage, scratch)

    def step(self, seconds: float, tokens: int, closed: int = 0) -> None:
        self.now += seconds
        self.sampled["a"] += tokens
        for _ in range(closed):
            self.stage.closed[(len(self.stage.closed), 0)] = None
        self.progress.step()


def test_rows_are_seconds_apart_and_continue_after_an_interruption(tmp_path: Path) -> None:
    reader = TailReader(GENERATE.file(tmp_path))
    first = Attempt(tmp_path)
    first.step(1, 100)  # too soon
    first.step(5, 500, closed=2)
    assert reader.new_rows() == [{"seconds": 6.0, "traces": 2, "total": 4, "tokens": 600, "tokens_per_second": 100.0}]
    second = Attempt(tmp_path)
    second.step(8, 80, closed=1)  # the store still serves what was closed before
    second.step(10, 100, closed=2)
    assert reader.new_rows() == [
        {"seconds": 14.0, "traces": 2, "total": 4, "tokens": 680, "tokens_per_second": 10.0},
        {"seconds": 24.0, "traces": 3, "total": 4, "tokens": 780, "tokens_per_second": 10.0},
    ]


def test_an_engine_that_samples_nothing_leaves_no_sign_of_life(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path)
    attempt.step(60, 0)
    attempt.step(60, 0)
    assert not GENERATE.file(tmp_path).exists()
    attempt.progress.finish("a")
    attempt.step(60, 10)
    assert not GENERATE.file(tmp_path).exists()


class Resumed:
    """What a resumed W&B run knows of the server: 40 rows in its history."""

    path, offline, resumed, starting_step = "e/p/7", False, True, 40

    def __init__(self, **summary: object) -> None:
        self.summary = summary


def test_sending_continues_after_the_last_row_that_arrived() -> None:
    def history(path: str, axis: str) -> list[float]:
        assert path == "e/p/7"
        return [33, 34, 35] if axis == "train/step" else []

    arrived = Resumed(_step=39, **{"train/step": 38})
    assert last_there(arrived, "train/step", 50, history) == 38  # the rest was lost with the process that sent it
    assert last_there(arrived, "generate/seconds", 12.5, history) is None
    late = Resumed(_step=30, **{"train/step": 30})  # a summary that is older than the history
    assert last_there(late, "train/step", 50, history) == 35
    assert last_there(late, "generate/seconds", 12.5, history) is None
    lost = Resumed()
    lost.resumed = False  # the server has no such run
    assert last_there(lost, "train/step", 50, history) is None
    lost.offline = True
    assert last_there(lost, "train/step", 50, history) == 50


def test_what_a_killed_process_sent_is_known_from_the_server() -> None:
    run = Resumed(reference="max 16", points=0)
    assert has_arrived(run, "reference") and has_arrived(run, "points") and not has_arrived(run, "verdict")
    run.resumed = False  # a new run has no summary of the server
    assert not has_arrived(run, "reference")
