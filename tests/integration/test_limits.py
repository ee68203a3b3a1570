"""Limits on the cost: checked before a run, kept to by all workers of a result, and raised to continue."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

from sweep.cli.spending import show_limits
from sweep.console import Console
from sweep.core.pipeline import Graph
from sweep.core.spending import Limits, Spending
from sweep.core.stage import CodePolicy, Stage
from sweep.local.workers import JobState, run_plan
from sweep.plan.graph import plan
from sweep.results.costs import limit_lines, write_planned
from sweep.store.directory import StageDirectory, Store, read_json, write_json
from sweep.store.spending import LIMITED, LIMITS, SPENDING, Ledger, read_limits
from sweep.store.status_files import is_limited
from tests.support.spenders import Spend, graph, spent_stage

FOREVER_S = 600.0


def run(graph: Graph, store: Store) -> list[JobState]:
    work = plan([graph.artifact], store.is_done)
    write_planned(graph, store, work.needed)
    return [job.state for job in run_plan(work, store, graph.workers, lambda stage: None, lambda jobs: None)]


def spent(graph: Graph, store: Store) -> Spending:
    final = store.directory(graph.artifact).path
    known = read_limits(final)
    assert known is not None
    return Ledger(final).spent(known.stages)


def message_of(store: Store, stage: Stage) -> str:
    return read_json(store.directory(stage).failed_file)["message"]


def test_a_plan_above_its_limit_is_refused_with_the_figures(tmp_path: Path) -> None:
    store, stages = Store(tmp_path / "store"), [spent_stage(number) for number in (1, 2)]
    needed = plan([graph(stages, Limits()).artifact], store.is_done).needed
    refused, _ = limit_lines(graph(stages, Limits(usd=15), usd=10), store, needed)
    assert refused == [
        "cost.limit_usd 15: this is estimated at 20.00 USD."
        " Raise the limit, or ask for fewer points, questions or tokens."
    ]
    assert limit_lines(graph(stages, Limits(usd=20), usd=10), store, needed) == ([], [])
    said = io.StringIO()
    assert show_limits(Console(file=said), graph(stages, Limits(device_hours=1e-6), usd=10), store, needed)[
        0
    ].startswith("cost.limit_device_hours 1e-06: this is estimated at")


def test_a_stage_without_room_is_not_started_and_a_higher_limit_continues(tmp_path: Path) -> None:
    store, first, second = Store(tmp_path / "store"), spent_stage(1, 0.05), spent_stage(2)
    limited = graph([first, second], Limits(usd=40))
    assert sorted(state.value for state in run(limited, store)) == ["blocked", "done", "failed"]
    directory = store.directory(second)
    assert is_limited(directory.failed_file) and not directory.scratch.exists()
    assert message_of(store, second).startswith("stopped by cost.limit_usd: spent ")
    assert "of 40.00 USD" in message_of(store, second)
    assert spent(limited, store).usd == store.directory(first).read_record()["usd"] > 40
    assert limit_lines(limited, store, [limited.artifact]) == ([], []), "it costs nothing"
    assert set(run(graph([first, second], Limits(usd=1e9)), store)) == {JobState.DONE}


def test_work_in_progress_stops_at_the_limit_and_resumes_where_it_was(tmp_path: Path) -> None:
    store, stage = Store(tmp_path / "store"), spent_stage(1, 10.0)
    limited = graph([stage], Limits(usd=1000))
    run(limited, store)
    steps = store.directory(stage).scratch / "steps"
    assert is_limited(store.directory(stage).failed_file) and int(steps.read_text(encoding="utf-8")) > 0
    interrupted = spent(limited, store)
    assert interrupted.usd >= 1000 and interrupted.device_seconds >= 1
    steps.write_text("999", encoding="utf-8")  # only the last step is left
    raised = graph([stage], Limits(usd=1e9))
    assert set(run(raised, store)) == {JobState.DONE}
    assert spent(raised, store).usd >= interrupted.usd + store.directory(stage).read_record()["usd"] - 1


def test_what_another_worker_spends_counts(tmp_path: Path) -> None:
    store, stage, other = Store(tmp_path / "store"), spent_stage(1), spent_stage(2)
    limited = graph([stage, other], Limits(usd=50))
    write_planned(limited, store, [stage, other, limited.artifact])
    place = store.directory(limited.artifact).path / SPENDING
    place.mkdir()
    elsewhere = {"stages": [other.address], "usd": 60.0, "device_seconds": 1.0, "charged_usd": {}}
    write_json(place / "node7-1.json", elsewhere)
    assert JobState.FAILED in run(limited, store)
    assert message_of(store, stage).startswith("stopped by cost.limit_usd: spent 60.00 USD of 50.00 USD.")


def test_an_interrupted_attempt_is_part_of_the_estimate_of_its_stage(tmp_path: Path) -> None:
    store, stage = Store(tmp_path / "store"), spent_stage(1)
    limited = graph([stage], Limits(usd=1000), usd=900)
    write_planned(limited, store, [stage, limited.artifact])
    place = store.directory(limited.artifact).path / SPENDING
    place.mkdir()
    write_json(place / "a-1.json", {"stages": [stage.address], "usd": 600.0, "device_seconds": 1.0, "charged_usd": {}})
    assert limit_lines(limited, store, [stage]) == ([], [])
    assert set(run(limited, store)) == {JobState.DONE}


def test_payments_to_others_count_and_stop_within_the_limit(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    paid = Stage("paid", 1, Spend(9), "tests.support.spenders:pay", batch="paid", code=CodePolicy.EXPENSIVE)
    limited = graph([paid], Limits(usd=4), usd=1)
    run(limited, store)
    assert is_limited(store.directory(paid).failed_file)
    assert spent(limited, store).usd == 4


def test_a_command_without_limits_lifts_them(tmp_path: Path) -> None:
    store, stage = Store(tmp_path / "store"), spent_stage(1)
    limited = graph([stage], Limits(usd=0.5))
    run(limited, store)
    places = [StageDirectory(store.root / each.address).path for each in (stage, limited.artifact)]
    assert [(each / LIMITED).exists() for each in places] == [True, True] and (places[1] / LIMITS).exists()
    assert set(run(dataclasses.replace(limited, limits=Limits()), store)) == {JobState.DONE}
    assert not any((each / name).exists() for each in places for name in (LIMITED, LIMITS))
