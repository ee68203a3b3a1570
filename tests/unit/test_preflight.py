"""The checks of a preflight, what it plans, and how its jobs come before all others."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from s1 import pipeline
from s1.models.location import Location
from s1.preflight.checks import check_devices, check_engine, check_hub
from s1.preflight.config import EngineNeed, Needs, PreflightConfig
from sweep.cli.slurm import with_checks
from sweep.config.compose import compose
from sweep.core.pipeline import CostEstimate, Graph
from sweep.core.stage import Resources, Stage
from sweep.plan.graph import plan
from sweep.preflight import store
from sweep.preflight.check import (
    NodeChecks,
    Outcome,
    combined,
    failed,
    passed,
    read_checks,
    skipped,
    table,
    write_checks,
)
from sweep.slurm.jobs import SlurmJob
from sweep.slurm.lifecycle import queue_jobs

FOUND = NodeChecks(
    "sft, 2 nodes x 8 GPUs",
    ("node1", "node2"),
    "2026-11-27T18:00:00+00:00",
    (
        passed("devices", "8 x NVIDIA H100 80GB HBM3, 79 GiB each"),
        failed("store: between nodes", "rank 8 gets a lock that rank 0 holds", store.ANOTHER_STORE),
        skipped("hub cache", "the plan reads nothing from the hub"),
    ),
)
NEEDS = Needs("generate, 1 node x 1 GPU", "cuda", 1, 80.0, None, None, [], [])


def test_checks_are_shown_with_what_to_do(golden: Callable[[str, str], None]) -> None:
    golden("cli/preflight-table.txt", table(FOUND))


def test_checks_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_checks(tmp_path / "checks.json", FOUND)
    assert read_checks(tmp_path / "checks.json") == FOUND
    assert json.loads((tmp_path / "checks.json").read_text(encoding="utf-8"))["checks"][1]["outcome"] == "failed"


def test_a_check_fails_if_it_fails_on_any_rank() -> None:
    fine, bad = passed("devices", "8 GPUs"), failed("devices", "7 GPUs", "Ask.")
    assert combined([fine, fine]) == fine
    assert combined([fine, bad]) == failed("devices", "rank 1: 7 GPUs", "Ask.")


# ------------------------------------------------------------------------------------------------- single checks


@dataclass
class Meeting:
    """Where the threads of a test gather values, one thread for each rank."""

    size: int
    barrier: threading.Barrier = field(init=False)
    values: dict[int, Any] = field(default_factory=dict[int, Any])

    def __post_init__(self) -> None:
        self.barrier = threading.Barrier(self.size, timeout=30)


@dataclass
class ThreadGroup:
    rank: int
    meeting: Meeting

    @property
    def size(self) -> int:
        return self.meeting.size

    def gathered(self, value: Any) -> list[Any]:
        self.meeting.values[self.rank] = value
        self.meeting.barrier.wait()
        found = [self.meeting.values[rank] for rank in range(self.size)]
        self.meeting.barrier.wait()
        return found


def on_two_ranks(check: Callable[[ThreadGroup], Any]) -> list[Any]:
    meeting, found = Meeting(2), [None, None]

    def run(rank: int) -> None:
        found[rank] = check(ThreadGroup(rank, meeting))

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return found


def test_two_ranks_agree_on_a_store_that_works(tmp_path: Path) -> None:
    found = on_two_ranks(lambda group: store.check_between_nodes(tmp_path / "between", group, ("a", "b")))
    assert [each.outcome for each in found] == [Outcome.PASSED, Outcome.PASSED]
    assert found[0].measured == "locks, renames and links of 2 processes on 2 nodes agree"


def test_locks_that_do_not_reach_the_other_node_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "flock", lambda *_lock: None)
    found = on_two_ranks(lambda group: store.check_between_nodes(tmp_path / "between", group, ("a", "b")))
    assert [each.measured for each in found] == 2 * ["rank 1 gets a lock that rank 0 holds"]


def test_a_clock_that_is_off_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = on_two_ranks(lambda group: store.check_clocks(tmp_path / "clock", group))
    assert found[0].outcome is Outcome.PASSED
    monkeypatch.setattr(store, "skew", lambda *_times: -60.0)
    found = on_two_ranks(lambda group: store.check_clocks(tmp_path / "clock", group))
    assert found[0].outcome is Outcome.FAILED
    assert found[0].measured.startswith("the store's is -60.0 s off the nodes'")


def test_a_folder_where_nothing_can_be_linked_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_paths: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    assert store.check_publishing(tmp_path / "a").outcome is Outcome.PASSED
    monkeypatch.setattr(os, "link", refuse)
    found = store.check_publishing(tmp_path / "b")
    assert found.outcome is Outcome.FAILED
    assert "cannot link a file" in found.measured


def test_too_little_space_fails_against_what_the_plan_writes(tmp_path: Path) -> None:
    found = store.check_space(tmp_path, needed_gib=1e9)
    assert found.outcome is Outcome.FAILED
    assert found.measured.endswith("the plan writes about 1,000,000,000.0 GiB")


def test_gpus_that_are_not_there_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    found = check_devices(NEEDS)
    assert (found.outcome, found.measured) == (Outcome.FAILED, "0 GPUs visible, 1 expected on each node")
    assert check_devices(replace(NEEDS, device="cpu", gpus=0)).outcome is Outcome.PASSED


def test_a_model_that_is_not_in_the_cache_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = check_hub([("Qwen/Qwen3-8B", "0" * 40)], [])
    assert found.outcome is Outcome.FAILED
    assert "Qwen/Qwen3-8B" in found.measured
    assert "sweep prefetch" in found.advice
    assert check_hub([], []).outcome is Outcome.SKIPPED


def test_an_engine_that_does_not_load_fails_with_its_own_words(tmp_path: Path) -> None:
    (x,) = compose(["model=laptop"]).points
    graph = pipeline.graph([x], compose(["model=laptop"]).request)
    (need,) = [each.engine for each in needs_of(graph) if each.engine]
    found = check_engine(need, Location(str(tmp_path / "nowhere"), None))
    assert found.outcome is Outcome.FAILED
    assert found.measured.startswith("laptop: ")


# ------------------------------------------------------------------------------------------------- plan and jobs


def needs_of(graph: Graph) -> list[Needs]:
    stages = graph.preflight(plan([graph.artifact], lambda stage: False).needed, "now")
    assert all(isinstance(each.config, PreflightConfig) for each in stages)
    return [each.config.needs for each in stages]


def graph_of(*overrides: str) -> Graph:
    composition = compose([*overrides, "-m"])
    return pipeline.graph(composition.points, composition.request)


def test_each_kind_of_node_is_checked_once() -> None:
    graph = graph_of("+experiment=budget_scan", "machine=h100x16", "train=s1", "engine=vllm", "train.batch_size=16")
    assert [each.kind for each in needs_of(graph)] == [
        "cpu, 1 node x no GPU",
        "sft, 2 nodes x 8 GPUs",
        "generate, 1 node x 8 GPUs",
    ]
    of_engine = [each.engine for each in needs_of(graph)]
    assert isinstance(of_engine[2], EngineNeed)
    assert of_engine[:2] == [None, None]


def test_the_disk_check_asks_for_what_the_plan_leaves_in_the_store() -> None:
    graph = graph_of("+experiment=budget_scan", "machine=h100", "train=s1", "engine=vllm")
    stages = plan([graph.artifact], lambda stage: False).needed
    written = sum(graph.estimates[each.address].disk_bytes or 0 for each in stages if each.address in graph.estimates)
    assert {each.disk_gib for each in needs_of(graph)} == {written / 2**30}


def test_two_machines_are_two_kinds_with_the_model_of_each() -> None:
    machines = "machine_of={s1_32b:h100x2,qwen3_8b:h100}"
    graph = graph_of("model=s1_32b,qwen3_8b", "data=none", "budget=none", "task=aime24", machines)
    engines = [(each.gpus, each.engine.model_name) for each in needs_of(graph) if each.engine]
    assert engines == [(2, "s1_32b"), (1, "qwen3_8b")]


def checked(limit: str, usd: float) -> tuple[Sequence[SlurmJob], Sequence[Stage]]:
    launch = ("launch=slurm", "launch.max_array_size=100", f"launch.preflight_above_usd={limit}")
    graph = graph_of("+experiment=smoke", *launch)
    work = plan([graph.artifact], lambda stage: False)
    graph = replace(graph, estimates={work.needed[0].address: CostEstimate(1, 1.0, usd)})
    return with_checks(graph, work, queue_jobs(graph, work), "now")


def test_a_plan_above_the_price_is_checked_before_anything_else_runs() -> None:
    jobs, checks = checked("20", 21.0)
    names = [job.name for job in jobs if job.name.startswith("00-")]
    assert len(names) == len(checks) == 3
    assert all(job.after or job.after_each for job in jobs[3:])
    assert [job for job in jobs[3:] if set(job.after) == set(names)]
    assert {len(job.elements) for job in jobs[:3]} == {1}
    assert jobs[0].resources == Resources("cpu", minutes=26)


@pytest.mark.parametrize(("limit", "usd"), [("20", 19.0), ("null", 1e6)])
def test_a_cheap_plan_is_not_delayed(limit: str, usd: float) -> None:
    jobs, checks = checked(limit, usd)
    assert not checks
    assert jobs[0].name.startswith("01-")


def test_a_check_is_made_anew_each_time() -> None:
    graph = graph_of("+experiment=smoke")
    stages = plan([graph.artifact], lambda stage: False).needed
    first, second = ({each.key for each in graph.preflight(stages, at)} for at in ("now", "later"))
    assert not first & second
