"""Limits on the cost: checked before a run, kept to by all workers of a result, and raised to continue."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest

from sweep.cli.probe import run_probe
from sweep.cli.spending import show_limits
from sweep.config.compose import compose
from sweep.console import Console
from sweep.core.pipeline import Graph
from sweep.core.spending import Limits, Spending
from sweep.core.stage import CodePolicy, Stage
from sweep.errors import InputError
from sweep.local.workers import JobState, run_plan
from sweep.plan.graph import plan
from sweep.plan.planning import clear, planned
from sweep.results.costs import limit_lines, spent_on, write_planned
from sweep.results.publish import manifest
from sweep.store.directory import Store, read_json, write_json
from sweep.store.spending import SPENDING, Ledger, limited_by, read_limits
from sweep.store.status_files import is_limited
from tests.support.spenders import Spend, graph, spent_stage

FOREVER_S = 600.0


def run(graph: Graph, store: Store) -> list[JobState]:
    work = plan([graph.artifact], store.is_done)
    write_planned(graph, store, work.needed)
    return [job.state for job in run_plan(work, store, graph.workers, lambda stage: None, lambda jobs: None)]


def spent(graph: Graph, store: Store) -> Spending:
    final = store.root / graph.accounted_at
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


def test_a_command_without_limits_lifts_its_own_and_is_metered(tmp_path: Path) -> None:
    store, stage = Store(tmp_path / "store"), spent_stage(1)
    limited = graph([stage], Limits(usd=0.5))
    run(limited, store)
    assert set(run(dataclasses.replace(limited, limits=Limits()), store)) == {JobState.DONE}
    known = read_limits(store.directory(limited.artifact).path)
    assert known is not None and not known.limits.is_set and spent(limited, store).usd > 0


def killed(graph: Graph, store: Store, stage: Stage, usd: float) -> None:
    """Leave what a worker leaves that is killed while it makes a stage."""
    write_planned(graph, store, plan([graph.artifact], store.is_done).needed)
    place = store.root / graph.accounted_at / SPENDING
    place.mkdir(exist_ok=True)
    write_json(place / "k-1.json", {"stages": [stage.address], "usd": usd, "device_seconds": 1.0, "charged_usd": {}})


def test_what_was_spent_without_a_limit_counts_for_a_later_one(tmp_path: Path) -> None:
    store, stage = Store(tmp_path / "store"), spent_stage(1)
    killed(graph([stage], Limits(), usd=5), store, stage, 60.0)
    limited = graph([stage], Limits(usd=50), usd=5)
    refused, _ = limit_lines(limited, store, plan([limited.artifact], store.is_done).needed)
    assert refused and "and 60.00 USD are spent already" in refused[0]


def redone(graph: Graph, store: Store) -> None:
    found = planned(graph, store, ["spent"])
    write_planned(graph, store, found.work.needed)
    clear(store, found)
    run_plan(found.work, store, graph.workers, lambda stage: None, lambda jobs: None)


def test_what_redo_sets_aside_was_spent(tmp_path: Path) -> None:
    store, stage = Store(tmp_path / "store"), spent_stage(1, 0.05)
    limited = graph([stage], Limits(usd=1e6))
    run(limited, store)
    prices = [store.directory(stage).read_record()["usd"]]
    for _ in range(2):
        redone(limited, store)
        prices.append(store.directory(stage).read_record()["usd"])
        assert spent(limited, store).usd == pytest.approx(sum(prices))
    needed = planned(limited, store, ["spent"]).work.needed
    refused, _ = limit_lines(dataclasses.replace(limited, limits=Limits(usd=sum(prices))), store, needed)
    assert refused and "are spent already" in refused[0]
    beside = manifest(limited, store).get("beside")
    assert beside is not None and beside["usd"] == pytest.approx(sum(prices[:2]), abs=1e-3)


def test_payments_for_replies_that_redo_sets_aside_were_made(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    paid = Stage("spent", 1, Spend(3), "tests.support.spenders:pay", batch="paid", code=CodePolicy.EXPENSIVE)
    limited = graph([paid], Limits(usd=100))
    run(limited, store)
    redone(limited, store)
    assert spent(limited, store).usd == 6


def test_all_rounds_of_a_command_have_one_account(tmp_path: Path) -> None:
    store, first, second = Store(tmp_path / "store"), spent_stage(1, 0.05), spent_stage(2, 0.05)
    before = graph([first], Limits(usd=1e6))
    run(before, store)
    after = dataclasses.replace(graph([first, second], Limits(usd=51), usd=10), account=before.artifact.address)
    refused, _ = limit_lines(after, store, [second, after.artifact])
    assert refused and "are spent already" in refused[0]
    assert JobState.FAILED in run(after, store)
    assert message_of(store, second).startswith("stopped by cost.limit_usd: spent ")
    run(dataclasses.replace(after, limits=Limits(usd=1e6)), store)
    prices = [store.directory(each).read_record()["usd"] for each in (first, second)]
    assert spent_on(after, store).usd == pytest.approx(sum(prices))
    content = manifest(after, store)
    assert content["usd"] == pytest.approx(sum(prices)), "what the first round made is part of the result"
    assert "beside" not in content


def test_the_limit_of_another_result_holds_while_it_has_room(tmp_path: Path) -> None:
    store, shared, own = Store(tmp_path / "store"), spent_stage(1), spent_stage(2)
    limited, free = graph([shared], Limits(usd=50), usd=10), graph([shared, own], Limits())
    write_planned(limited, store, [shared, limited.artifact])
    write_planned(free, store, [shared, own, free.artifact])
    finals = [store.directory(each.artifact).path for each in (free, limited)]
    assert limited_by([store.directory(shared)]) == tuple(finals)
    assert limited_by([store.directory(own)]) == (finals[0],)
    killed(limited, store, shared, 60.0)
    assert JobState.FAILED in run(limited, store)
    write_planned(free, store, [shared, own, free.artifact])
    assert limited_by([store.directory(shared)]) == (finals[0],), "it is asked for without a limit"


def test_a_probe_keeps_to_the_limits_asks_and_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    composition = compose([f"store={tmp_path / 'store'}"])
    store, said = Store(composition.entry.store), io.StringIO()
    probed = graph([spent_stage(1)], Limits(), usd=101)
    main = dataclasses.replace(graph([spent_stage(1), spent_stage(2)], Limits()), probe=lambda questions, seed: probed)
    limited = dataclasses.replace(main, limits=Limits(usd=100))
    assert run_probe(Console(file=said), composition, limited, 3, 0) == 1
    with pytest.raises(InputError, match=r"101\.00 USD estimated, above launch.ask_above_usd 100\. Add yes=true"):
        run_probe(Console(file=said), composition, main, 3, 0)
    assert not store.is_done(probed.artifact) and spent_on(main, store) == Spending()
    composition = dataclasses.replace(composition, entry=dataclasses.replace(composition.entry, yes=True))
    assert run_probe(Console(file=said), composition, main, 3, 0) == 0
    assert spent_on(main, store).usd == store.directory(spent_stage(1)).read_record()["usd"] > 0
    assert "which counts towards the cost and the limits of the result" in said.getvalue()
    assert JobState.FAILED not in run(dataclasses.replace(main, limits=Limits(usd=1e6)), store)
    stages = manifest(main, store)["stages"]
    assert stages[spent_stage(1).address].get("reused") is False, "the probe made it for this result"
