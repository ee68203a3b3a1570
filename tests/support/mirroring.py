"""Mirror a finished smoke scan in a process of its own, as a sweep would."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from s1.config.resources import Track
from sweep.cli.run import graph_of
from sweep.config.compose import compose
from sweep.core.pipeline import Graph
from sweep.plan.graph import plan
from sweep.store.directory import Store
from tests.support.smoke import environment
from tests.support.surroundings import PROJECT


def graph(store: Path, project: str, *overrides: str, wandb: bool = True) -> Graph:
    """The plan of the scan in this store, mirrored to a project; the command that it quotes is that of the scan."""
    places = (f"store={store}", f"results={store.parent / 'results'}")
    composition = compose(["+experiment=smoke", *places, *overrides, "-m"])
    track = Track(wandb=wandb, project=project, entity=None)
    return graph_of(replace(composition, points=tuple(replace(each, track=track) for each in composition.points)))


def mirror(store: Path, project: str, *names: str) -> None:
    """Mirror all finished stages, or those of these names, inputs first."""
    mirror_graph(graph(store, project), store, *names)


def mirror_graph(planned: Graph, store: Path, *names: str) -> None:
    for stage in plan([planned.artifact], lambda stage: False).needed:
        if Store(store).is_done(stage) and (not names or stage.name in names):
            planned.on_finished(stage, Store(store).directory(stage).path)


def in_process(call: str, home: Path, variables: Mapping[str, str]) -> str:
    """Run a line with the functions of this module, with no credentials but the given; what it logged."""
    inherited = {name: value for name, value in environment().items() if not name.startswith("WANDB_")}
    given = {**inherited, "HOME": str(home), "NETRC": str(home / ".netrc"), **variables}
    code = f"from pathlib import Path; from tests.support.mirroring import *; {call}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=given, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


def offline_runs(store: Path) -> list[Path]:
    return sorted((store / "wandb").glob("offline-run-*"))


__all__ = ["Path", "graph", "in_process", "mirror", "mirror_graph", "offline_runs"]
