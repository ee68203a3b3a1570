"""A result is published before it is mirrored, and no error of a mirror ends a run."""

from __future__ import annotations

import io
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sweep.console import Console
from sweep.core.pipeline import Graph, SweepRequest
from sweep.core.stage import Stage
from sweep.local.execute import execute_plan
from sweep.local.mirror import MirrorPass, follow
from sweep.plan.graph import plan
from sweep.store.directory import Store
from tests.support import toy

POINTS = [toy.Point("toy", toy.Shape(number)) for number in (1, 2)]


def run(tmp_path: Path, on_finished: Callable[[Stage, Path], None], points: list[toy.Point] = POINTS) -> int:
    store = Store(tmp_path / "store")
    graph: Graph = replace(toy.graph(points, SweepRequest("", [{}, {}], store.root)), on_finished=on_finished)
    work = plan([graph.artifact], store.is_done)
    return 0 if execute_plan(Console(file=io.StringIO()), graph, work, store, tmp_path / "results") else 1


def test_the_product_is_published_before_it_is_mirrored(tmp_path: Path) -> None:
    mirrored = []
    published = tmp_path / "results" / "toy" / "latest" / "total.txt"
    assert run(tmp_path, lambda stage, path: mirrored.append((stage.name, published.exists()))) == 0
    assert ("total", True) in mirrored and ("total", False) not in mirrored


@pytest.mark.parametrize("error", [TypeError("Key 'key': Number not assignable"), ValueError("x"), ImportError("y")])
def test_a_mirror_exception_is_a_warning_with_its_traceback_at_debug_level(
    tmp_path: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(stage: Stage, path: Path) -> None:
        raise error

    caplog.set_level(logging.DEBUG, "sweep.local.mirror")
    assert run(tmp_path, fails) == 0
    assert (tmp_path / "results" / "toy" / "latest" / "total.txt").read_text(encoding="utf-8") == "6"
    assert any(each.levelname == "WARNING" and "total/" in each.getMessage() for each in caplog.records)
    assert all(each.exc_info is None for each in caplog.records if each.levelname == "WARNING")
    assert any(each.exc_info for each in caplog.records if each.levelname == "DEBUG")


def test_a_failed_run_stays_failed_and_mirrors_what_is_finished(tmp_path: Path) -> None:
    mirrored: set[str] = set()
    points = [replace(each, fail_at=2) for each in POINTS]
    assert run(tmp_path, lambda stage, path: mirrored.add(stage.name), points) == 1
    assert "number" in mirrored and "total" not in mirrored
    assert not (tmp_path / "results" / "toy").exists()


def test_what_finishes_while_a_pass_is_sending_is_mirrored_by_the_next_pass(tmp_path: Path) -> None:
    assert run(tmp_path, lambda stage, path: None) == 0
    mirrored: list[str] = []
    store = Store(tmp_path / "store")
    (record,) = store.root.glob("total/*/record.json")
    aside = record.rename(tmp_path / "aside.json")

    def slowly(stage: Stage, path: Path) -> None:
        mirrored.append(stage.name)
        if aside.exists():
            aside.rename(record)

    graph = replace(toy.graph(POINTS, SweepRequest("", [{}, {}], store.root)), on_finished=slowly)
    assert follow(MirrorPass(graph, store), lambda seconds: True).is_complete
    assert "total" in mirrored


def test_an_interruption_in_a_mirror_still_interrupts(tmp_path: Path) -> None:
    def interrupted(stage: Stage, path: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, interrupted)


def test_a_store_keeps_its_id_and_a_copy_gets_one_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    first = Store(tmp_path / "store").id
    assert Store(tmp_path / "store").id == first
    shutil.copytree(tmp_path / "store", tmp_path / "copy")
    assert Store(tmp_path / "copy").id != first
    (tmp_path / "store").rename(tmp_path / "moved")
    assert Store(tmp_path / "moved").id == first
