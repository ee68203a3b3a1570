"""What finished generation in a store says about a plan."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest

from s1.earlier_runs import EarlierRuns
from s1.estimates import estimates_of
from s1.generate.trace_row import TRACES_FILE
from s1.lengths import TraceLength
from s1.pipeline import stages_of
from s1.point import PointConfig
from sweep.config.compose import compose
from sweep.core.stage import Stage
from sweep.json_files import sealed, write_json
from sweep.store.directory import Store, describe

WORDS = ["model=qwen3_8b", "data=none", "task=aime24", "budget.max_thinking_tokens=null", "budget.waits=1"]


def point(*overrides: str) -> PointConfig:
    (composed,) = compose([*WORDS, *overrides]).points
    return composed


def row(question: str, natural: int, appended: int) -> dict[str, object]:
    segments = [("sampled", natural), ("forced", 1), ("sampled", appended - 1)]
    return {
        "question_id": question,
        "segments": [{"part": "thinking", "origin": origin, "ids": [1] * count} for origin, count in segments],
        "thinking_tokens": natural + appended,
        "answer_tokens": 5,
    }


def leave(store: Store, x: PointConfig, rows: list[dict[str, object]], host: str = platform.node()) -> Stage:
    """Leave the traces of a point in the store, as a run that sampled 10,000 tokens at 500 per second."""
    evaluation = stages_of(x).evaluation
    traces = evaluation.traces
    for stage in (*evaluation.questions.dependencies(), evaluation.questions, traces):
        directory = store.directory(stage)
        (directory.path / "out").mkdir(parents=True)
        write_json(directory.stage_file, describe(stage))
        record = {
            "key": stage.key,
            "identity": stage.identity(),
            "summary": {"engine_tokens_per_second": 500.0, "engine_tokens": 10_000, "sampled_tokens": 10_000},
            "seconds": 50.0,
            "usd": 0.0,
            "shards": [],
            "out": "out",
            "provenance": {"host": {"name": host}},
        }
        write_json(directory.record_file, sealed(record))
    text = "".join(f"{json.dumps(each)}\n" for each in rows)
    (store.directory(traces).path / "out" / TRACES_FILE).write_text(text, encoding="utf-8")
    return traces


ROWS = [row("a", 100, 60), row("b", 300, 100)]


def test_lengths_and_speed_of_an_earlier_run_are_those_of_its_traces(tmp_path: Path):
    store = Store(tmp_path)
    probed = point("task.limit=2", "task.draw_seed=0")
    traces = leave(store, probed, ROWS)
    (run,) = EarlierRuns(store).of(stages_of(point()).evaluation.traces)
    assert run.address == traces.address
    assert run.lengths.questions == ((TraceLength(100, 160, 5),), (TraceLength(300, 400, 5),))
    assert run.speed is not None
    assert (run.speed.tokens_per_second, run.speed.traces_together, run.speed.start_seconds) == (500, 2, 30)


def test_a_plan_uses_an_earlier_run_where_the_rates_hold_for_another_model(tmp_path: Path):
    store, x = Store(tmp_path), point()
    leave(store, point("task.limit=2", "task.draw_seed=0"), ROWS)
    stages = stages_of(x)
    estimate = estimates_of([x], [stages], EarlierRuns(store))[stages.evaluation.traces.address]
    assert estimate.tokens == (165 + 405) / 2 * 30
    assert estimate.tokens_low < 1 < estimate.tokens_high
    assert estimate.device_seconds is not None and estimate.time_low < 1 < estimate.time_high


@pytest.mark.parametrize(
    "other",
    [
        ["task=aime25"],
        ["model=qwen3_1_7b"],
        ["generate=sampled"],
        ["thinking_format@model.thinking_format=s1"],
        ["task.instruction=Think."],
    ],
)
def test_runs_of_another_model_task_question_format_or_temperature_say_nothing(tmp_path: Path, other: list[str]):
    store, x = Store(tmp_path), point()
    leave(store, point(*other, "task.limit=2"), ROWS)
    assert EarlierRuns(store).of(stages_of(x).evaluation.traces) == []


def test_an_answer_that_may_be_longer_than_those_measured_is_not_estimated_from_them(tmp_path: Path):
    store = Store(tmp_path)
    leave(store, point("budget.answer_tokens=5", "task.limit=2"), ROWS)
    (run,) = EarlierRuns(store).of(stages_of(point()).evaluation.traces)
    assert run.lengths.reaches(point("budget.answer_tokens=4").request)
    assert not run.lengths.reaches(point("budget.answer_tokens=6").request)
    assert not run.lengths.reaches(point("budget.answer_tokens=null").request)


def test_other_rows_of_a_generator_tell_lengths_and_rows_of_another_file_do_not(tmp_path: Path):
    dial = ["task=dial", "budget.waits=0"]
    file = tmp_path / "own.jsonl"
    file.write_text('{"id": "a", "problem": "1 + 1?", "answer": "2"}\n', encoding="utf-8")
    store = Store(tmp_path / "store")
    leave(store, point(*dial, "task.problems=2"), ROWS)
    runs = EarlierRuns(store)
    assert len(runs.of(stages_of(point(*dial, "task.problems=9")).evaluation.traces)) == 1
    assert runs.of(stages_of(point(*dial, f"task.data_file={file}")).evaluation.traces) == []


def test_the_speed_of_another_dtype_is_not_read_from_the_first_question_about_a_run(tmp_path: Path):
    store = Store(tmp_path)
    leave(store, point("task.limit=2"), ROWS)
    runs = EarlierRuns(store)
    asked = [stages_of(point(dtype)).evaluation.traces for dtype in ("engine.dtype=bfloat16", "engine.dtype=float32")]
    assert [run.speed is None for each in asked for run in runs.of(each)] == [True, False]


def test_one_measured_question_gives_an_interval_up_to_what_a_trace_can_have(tmp_path: Path):
    store, x = Store(tmp_path), point("generate=sampled")
    leave(store, point("generate=sampled", "task.limit=1"), ROWS[:1])
    stages = stages_of(x)
    estimate = estimates_of([x], [stages], EarlierRuns(store))[stages.evaluation.traces.address]
    assert estimate.tokens_low == 0
    assert 1 < estimate.tokens_high < 3 * x.model.context_tokens / 165


def test_the_speed_of_another_host_is_not_that_of_this_machine(tmp_path: Path):
    store = Store(tmp_path)
    leave(store, point("task.limit=2"), ROWS, host="elsewhere")
    (run,) = EarlierRuns(store).of(stages_of(point()).evaluation.traces)
    assert run.speed is None and len(run.lengths.questions) == 2
