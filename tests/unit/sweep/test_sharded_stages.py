"""Shards of a stage run side by side as separate stages and join into the same artifact as the whole stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweep.core.launch import Launch
from sweep.core.pipeline import Graph, Workers
from sweep.core.stage import Stage
from sweep.local.workers import JobState, WorkerJob, run_plan
from sweep.maintenance.inventory import take_inventory
from sweep.maintenance.retention import kept_stages
from sweep.plan.graph import plan
from sweep.results.publish import manifest
from sweep.slurm.jobs import plan_jobs
from sweep.store.directory import Store, read_json
from sweep.worker.run import main as run_stage
from tests.support.known import known
from tests.support.toy_shards import squares_in, squares_stage, total_stage


def graph_of(product: Stage) -> Graph:
    return Graph(
        name="squares",
        artifact=product,
        table=lambda directory: [],
        workers=Workers(2, 1),
        estimates={},
        on_finished=lambda stage, path: None,
        points=1,
        remarks=lambda summaries: [],
        launch=Launch(),
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def run(store: Store, product: Stage) -> list[WorkerJob]:
    work = plan([product], store.is_done)
    return run_plan(work, store, Workers(2, 1), lambda stage: None, lambda jobs: None)


def test_shards_are_no_part_of_what_a_stage_is() -> None:
    assert total_stage(1).key == total_stage(3).key


def test_each_worker_of_a_batch_makes_its_shard_of_all_stages() -> None:
    units = plan([total_stage(3)], lambda stage: False).units
    assert [(unit.name, len(unit.stages)) for unit in units] == [
        *[("squares_shard", 2)] * 3,
        ("squares", 2),
        ("total", 1),
    ]


def test_shards_are_an_array_with_the_devices_and_what_puts_them_together_needs_none() -> None:
    jobs = plan_jobs(plan([total_stage(3)], lambda stage: False).units, 1000)
    assert [(job.name, len(job.elements), job.resources.devices, job.after) for job in jobs] == [
        ("01-squares_shard", 3, 2, ()),
        ("02-squares+total", 1, 0, ("01-squares_shard",)),
    ]


def test_what_shards_make_is_what_one_worker_makes(store: Store, tmp_path: Path) -> None:
    alone = Store(tmp_path / "alone")
    run(alone, total_stage(1))
    assert all(job.state is JobState.DONE for job in run(store, total_stage(3)))
    for below in (5, 7):
        there, here = (each.directory(squares_stage(below)) for each in (alone, store))
        assert known(there.read_record().get("files")) == known(here.read_record().get("files"))
        assert there.read_record()["summary"] == here.read_record()["summary"]
    assert sorted(path.name for path in store.shared("gpu").iterdir()) == ["worker-0", "worker-1", "worker-2"]


def test_a_result_costs_what_its_shards_cost_and_counts_them_once(store: Store) -> None:
    product = total_stage(3)
    run(store, product)
    whole = store.directory(squares_stage(5, 3)).read_record()
    shards = [store.directory(shard).read_record() for shard in squares_stage(5, 3).shards]
    assert whole["shards"] == [each["key"] for each in shards]
    assert whole["seconds"] >= sum(each["seconds"] for each in shards)
    assert whole["usd"] == pytest.approx(sum(each["usd"] for each in shards))
    told = manifest(graph_of(product), store)
    assert {address.partition("/")[0] for address in told["stages"]} == {"squares", "total"}
    assert told["usd"] == pytest.approx(sum(store.directory(squares_stage(n)).read_record()["usd"] for n in (5, 7)))


def test_a_missing_shard_is_an_error_and_the_same_sweep_makes_it(store: Store) -> None:
    stage = squares_stage(5, 3)
    for shard in stage.shards[:2]:
        store.prepare(shard)
        assert run_stage([str(store.directory(shard).path)]) == 0
    store.prepare(stage)
    assert run_stage([str(store.directory(stage).path)]) == 1
    missing = stage.shards[2].address
    assert f"input {missing}: not finished" in read_json(store.directory(stage).failed_file)["message"]
    assert [job.unit.name for job in run(store, stage)] == ["squares_shard", "squares"]
    assert squares_in(store.directory(stage).out) == [0, 1, 4, 9, 16]


def test_shards_stay_in_the_store_until_they_are_put_together(store: Store, tmp_path: Path) -> None:
    stage = squares_stage(5, 2)
    store.prepare(stage)
    for shard in stage.shards:
        store.prepare(shard)
        assert run_stage([str(store.directory(shard).path)]) == 0
    assert kept_stages(take_inventory(store, tmp_path), unfinished=False) == {
        stage.address,
        *(shard.address for shard in stage.shards),
    }
    assert run_stage([str(store.directory(stage).path)]) == 0
    assert kept_stages(take_inventory(store, tmp_path), unfinished=False) == set()


def test_what_another_process_is_making_is_left_to_it_if_asked(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = squares_stage(5)
    directory = store.prepare(stage)
    with directory.locked():
        assert run_stage(["--unless-busy", str(directory.path)]) == 0
    assert "another process is making it" in capsys.readouterr().out
    assert not directory.is_done
    assert run_stage(["--unless-busy", str(directory.path)]) == 0
    assert directory.is_done
