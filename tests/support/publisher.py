"""A user who scanned the toy pipeline and publishes the result."""

from __future__ import annotations

from pathlib import Path

from sweep.core.pipeline import Graph, SweepRequest
from sweep.maintenance.prune import prune
from sweep.results.publish import Published, publish
from sweep.store.checksums import file_states
from sweep.store.directory import StageDirectory, Store, write_json
from tests.support import toy

KILLED = 9


class User:
    """Someone whose toy scan is finished, with results of their own."""

    def __init__(self, home: Path) -> None:
        self.home, self.store, self.results = home, Store(home / "store"), home / "results"
        points = [toy.Point("toy", toy.Shape(number)) for number in (1, 2)]
        self.graph: Graph = toy.graph(points, SweepRequest("", [{}, {}], self.store.root))

    @property
    def product(self) -> StageDirectory:
        return self.store.directory(self.graph.artifact)

    @property
    def key(self) -> str:
        return self.graph.artifact.key

    @property
    def folder(self) -> Path:
        return self.results / "toy"

    def publish(self, results: Path | None = None) -> Published:
        return publish(self.graph, self.store, results or self.results)

    def make_otherwise(self, directory: StageDirectory, name: str, text: str) -> None:
        """Other bytes under the same key, with a record that says so."""
        (directory.out / name).write_text(text, encoding="utf-8")
        record = {name: value for name, value in directory.read_record().items() if name != "checksum"}
        write_json(directory.record_file, {**record, "files": file_states(directory.out)})

    def prunable(self) -> set[str]:
        return {each.place for each in prune(self.store, self.results, yes=False, unfinished=True).gone}


def content(folder: Path) -> dict[str, bytes | str]:
    """Every file and link below, hidden ones too."""
    return {
        str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }
