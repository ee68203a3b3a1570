"""The result of a command: its product copied to results/NAME, whole, and what it was made from."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweep.contract import Graph
from sweep.errors import InputError
from sweep.lock import locked
from sweep.plan import plan
from sweep.stage import Stage
from sweep.store import Store, write_json


def publish(graph: Graph, store: Store, results: Path) -> Mapping[str, Any]:
    """Copy the product to results/NAME, whole, and say beside it what it was made from and what that cost."""
    if results.exists() and not (results / "manifest.json").exists():
        raise InputError(f"results {results}: there, and not a result of ours. Move it away, or choose another name=.")
    made_from = manifest(graph, store)
    with locked(store.root / "publishing"):  # the last jobs of one command, sent twice, start in the same second
        _replace(results, store.directory(graph.product).out, made_from)
    return made_from


def _replace(results: Path, product: Path, made_from: Mapping[str, Any]) -> None:
    """Copied aside and renamed: what was there before stays until the new is whole."""
    results.parent.mkdir(parents=True, exist_ok=True)
    new, old = (results.with_name(f".{results.name}.{which}") for which in ("new", "old"))
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(product, new)
    write_json(new / "manifest.json", made_from)
    if results.exists():
        results.rename(old)
    new.rename(results)
    shutil.rmtree(old, ignore_errors=True)


def finished_stages(graph: Graph, store: Store) -> list[Stage]:
    """All that the product rests on and that is there, inputs first."""
    return [stage for stage in plan([graph.product], lambda stage: False).needed if store.is_done(stage)]


def manifest(graph: Graph, store: Store) -> Mapping[str, Any]:
    """Every stage behind the product: key, digest, what it took, and the code that made it; shards in their whole."""
    finished = finished_stages(graph, store)
    shards = {shard.address for each in finished for shard in each.shards}
    behind = [each for each in finished if each.address not in shards]
    records = {each.address: store.directory(each).read_record() for each in behind}
    digests = {each.address: store.directory(each).digest for each in behind}
    return {
        "experiment": graph.name,
        "stages": {
            address: {
                "digest": digests[address],
                "generation": record.get("generation", 0),
                "seconds": record["seconds"],
                "usd": record["usd"],
                "summary": record["summary"],
                "commit": record["provenance"]["git"]["commit"],
                "finished_at": record["finished_at"],
            }
            for address, record in records.items()
        },
        "remarks": list(graph.remarks({address: record["summary"] for address, record in records.items()})),
        "seconds": round(sum(record["seconds"] for record in records.values()), 3),
        "usd": round(sum(record["usd"] for record in records.values()), 6),
        "packages": store.directory(graph.product).read_record()["provenance"]["packages"],
    }
