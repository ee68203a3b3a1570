"""A user who scans the toy pipeline and lists, checks and prunes the store on the command line."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from sweep.cli.run import sweep
from sweep.config.compose import compose
from sweep.console import Console
from sweep.core.pipeline import SweepRequest
from sweep.core.provenance import PROJECT
from sweep.core.stage import Stage
from sweep.results.roots import release, roots
from sweep.store.directory import StageDirectory, Store
from sweep.store.temporary import token
from tests.support import toy

CONFIG = PROJECT / "tests" / "support" / "toy_conf"


def killed() -> str:
    """The token of a process that is gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return token().replace(f"-{os.getpid()}-", f"-{process.pid}-")


class User:
    """Someone with a store and a results folder of their own, and the toy pipeline."""

    def __init__(self, home: Path) -> None:
        self.home, self.store, self.results = home, Store(home / "store"), home / "results"

    @property
    def places(self) -> list[str]:
        return [f"store={self.store.root}", f"results={self.results}", "pipeline=tests.support.toy"]

    def sweep(self, *overrides: str) -> tuple[int, str]:
        """One scan: exit status and what was printed."""
        said = io.StringIO()
        composition = compose([*overrides, *self.places, "-m"], CONFIG)
        return sweep(composition, Console(file=said, width=200, highlight=False)), said.getvalue()

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sweep", *words, *self.places]
        environment = {**os.environ, "COLUMNS": "200"}
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, env=environment)

    def prune(self, *words: str) -> str:
        done = self.run("store", "prune", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def check(self, *words: str, status: int) -> str:
        done = self.run("store", "check", *words)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def directory(self, stage: Stage) -> StageDirectory:
        return self.store.directory(stage)

    def doubled(self, number: int, fail_at: int | None = None) -> StageDirectory:
        return self.directory(toy.doubled_of(point(number, fail_at)))

    def number(self, number: int) -> StageDirectory:
        return self.directory(toy.number_of(point(number)))

    def total(self, *numbers: int, name: str = "toy") -> StageDirectory:
        request = SweepRequest("", [{} for _ in numbers], self.store.root)
        return self.directory(toy.graph([replace(point(number), name=name) for number in numbers], request).artifact)

    def lose(self, name: str) -> None:
        """The results of a name, and what the store remembers of them."""
        for root in roots(self.store)[0]:
            if root.result.manifest.experiment == name:
                release(self.store, root.id, yes=False)
        shutil.rmtree(self.results / name)

    def files(self) -> set[str]:
        return {str(path.relative_to(self.home)) for path in self.home.rglob("*")}


def point(number: int, fail_at: int | None = None) -> toy.Point:
    return toy.Point("toy", toy.Shape(number), fail_at)


def flip_a_byte(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
