"""The result of a command: its product copied to results/NAME/KEY, whole, and what it was made from.

Nothing that is there is replaced. The copy is made aside, hashed against the record of the product, and becomes the
result by one rename. Equal bytes leave all as it is; other bytes under the same key are published beside it, as KEY-2.
What counts are the files that the manifest lists: those that a user put there are nobody's business.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sweep.core.pipeline import Graph
from sweep.core.stage import Stage
from sweep.errors import InputError
from sweep.plan.graph import plan
from sweep.results.result import LATEST, MANIFEST, Result, aside_in, asides_in, latest_of, read_result
from sweep.results.roots import write_root
from sweep.store.attempt import forget_hashes
from sweep.store.checksums import FileState, changed_files_by_hash, file_states
from sweep.store.directory import StageDirectory, Store, StoreError, write_json
from sweep.store.documents import ManifestJson, RecordJson
from sweep.store.temporary import is_abandoned, remove, token

IN_THE_WAY = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR)


@dataclass(frozen=True)
class Published:
    path: Path  # of the result
    manifest: ManifestJson
    warnings: tuple[str, ...] = ()  # a line each


def publish(graph: Graph, store: Store, results: Path) -> Published:
    """Make the product a result, if it is none yet, and point `latest` to it.

    Raises InputError if something else is in the way, StoreError if the product is not what its record says.
    """
    require_place(graph, store, results)
    made_from = manifest(graph, store)
    folder = results / graph.name
    folder.mkdir(parents=True, exist_ok=True)
    remove_abandoned(folder)
    taken = (folder / graph.product.key).exists()
    path, is_new = _publish(graph.product, store, folder, made_from)
    warnings = _lost(graph, made_from["lost"])
    if is_new and taken:
        warnings.append(
            f"{folder / graph.product.key}: holds other bytes, and stays. Published beside it: {path.name}."
        )
    return Published(path, made_from, (*warnings, *_point_latest(path)))


def require_place(graph: Graph, store: Store, results: Path) -> None:
    """Raises InputError where the result could not be published: a cheap look before days of work."""
    if results.resolve() == store.root.resolve():
        raise InputError(f"results {results}: this is the store, where results would look like stages. Choose another.")
    for folder in (results, results / graph.name):
        if os.path.lexists(folder) and not folder.is_dir():
            raise InputError(
                f"results {folder}: there, and no folder. Move it away, or choose another results= or name=."
            )


def _publish(product: Stage, store: Store, folder: Path, made_from: ManifestJson) -> tuple[Path, bool]:
    """Where the result is, and whether it was not there before; another process may be publishing the same."""
    aside = aside_in(folder, product.key, token())
    try:
        while True:
            there = _there(folder, product.key)
            same = next((each for each in _readable(there) if each.holds(made_from["files"])), None)
            if same is not None:
                write_root(store, same.path, same.manifest.content)
                return same.path, False
            place = _first_free(folder, product.key, there)
            if not aside.exists():
                _copy(store.directory(product), made_from, aside)
            write_root(store, place, made_from)  # first: a root without its result keeps too much, not too little
            try:
                aside.rename(place)
            except OSError as error:
                if error.errno not in IN_THE_WAY:
                    raise
                continue  # another process was faster: look at what it published
            return place, True
    finally:
        remove(aside)


def _there(folder: Path, key: str) -> set[Path]:
    """All that has the name of a result of this key: KEY, KEY-2, KEY-3."""
    return {path for path in folder.glob(f"{key}*") if path.name.partition("-")[0] == key}


def _first_free(folder: Path, key: str, there: Collection[Path]) -> Path:
    """Of the names in their order, the first that was not looked at; if it is there by now, it has to be."""
    names = itertools.chain([key], (f"{key}-{number}" for number in itertools.count(2)))
    return next(path for name in names if (path := folder / name) not in there)


def _readable(paths: Collection[Path]) -> Iterator[Result]:
    for path in sorted(paths):
        with suppress(StoreError):  # its manifest is damaged: nothing is known to be equal to it
            if result := read_result(path):
                yield result


def _copy(product: StageDirectory, made_from: ManifestJson, aside: Path) -> None:
    """The product and its manifest, flushed to disk. Raises StoreError, and leaves nothing, if a byte is not right."""
    if faults := product.faults():
        raise _damaged(product, faults)
    aside.mkdir()
    for name in made_from["files"]:
        target = aside / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copy_file(product.out / name, target)
    states = product.read_record().get("files")
    if states is not None and (faults := changed_files_by_hash(aside, _files_of_result(states))):
        raise _damaged(product, faults)
    write_json(aside / MANIFEST, made_from)


def _damaged(product: StageDirectory, faults: Sequence[str]) -> StoreError:
    """The next plan hashes every byte, and finds it too."""
    forget_hashes(product)
    return StoreError(
        f"{product.address}: damaged, {faults[0]}. Nothing is published. Run the command again: it is set aside and"
        " made anew."
    )


def remove_abandoned(folder: Path) -> None:
    """What killed publications left in this very folder."""
    for path, made_by in asides_in(folder):
        if is_abandoned(path, made_by):
            remove(path)


def copy_file(source: Path, target: Path) -> None:
    """The bytes alone, on the disk when it returns."""
    shutil.copyfile(source, target)
    with target.open("rb+") as file:
        os.fsync(file.fileno())


def _point_latest(result: Path) -> list[str]:
    """Make `latest` lead to this result; a line if it cannot."""
    link = result.parent / LATEST
    if latest_of(result):
        return []
    is_ours = link.is_symlink() and link.readlink().name == str(link.readlink())  # in the same folder
    if os.path.lexists(link) and not is_ours:
        return [f"{link}: not a link of ours, left as it is. The result is {result}."]
    aside = aside_in(link.parent, LATEST, token())
    try:
        aside.symlink_to(result.name, target_is_directory=True)
        aside.replace(link)
    except OSError as error:  # links are not supported everywhere
        remove(aside)
        return [f"{link}: not set ({error.strerror or error}). The result is {result}."]
    return []


# ------------------------------------------------------------------------------------------------- the manifest


def finished_stages(graph: Graph, store: Store) -> list[Stage]:
    """All that the product rests on and that is there, inputs first."""
    return [stage for stage in plan([graph.product], lambda stage: False).needed if store.is_done(stage)]


def manifest(graph: Graph, store: Store) -> ManifestJson:
    """Every stage behind the product: key, digest, what it took, and the code that made it; shards in their whole."""
    stages = plan([graph.product], lambda stage: False).needed
    shards = {shard.address for each in stages if store.is_done(each) for shard in each.shards}
    records, lost = _records([each for each in stages if each.address not in shards], store)
    product = store.directory(graph.product)
    record = product.read_record()
    files = record.get("files") or file_states(product.out)
    return {
        "experiment": graph.name,
        "product": graph.product.address,
        "points": graph.points,
        "files": {name: state["sha256"] for name, state in _files_of_result(files).items()},
        "stages": {
            address: {
                "digest": StageDirectory(store.root / address).digest_by(record),
                "generation": record.get("generation", 0),
                "seconds": record["seconds"],
                "usd": record["usd"],
                "summary": record["summary"],
                "commit": record["provenance"]["git"]["commit"],
                "finished_at": record["finished_at"],
            }
            for address, record in records.items()
        },
        "lost": lost,
        "remarks": list(graph.remarks({address: record["summary"] for address, record in records.items()})),
        "seconds": round(sum(record["seconds"] for record in records.values()), 3),
        "usd": round(sum(record["usd"] for record in records.values()), 6),
        "packages": record["provenance"]["packages"],
    }


def _files_of_result(files: Mapping[str, FileState]) -> dict[str, FileState]:
    """Of the product's files those that are in the result: a manifest.json of its own gives way to ours."""
    return {name: state for name, state in files.items() if name != MANIFEST}


def _records(stages: list[Stage], store: Store) -> tuple[dict[str, RecordJson], dict[str, str]]:
    """By address; and why of those that have none."""
    records: dict[str, RecordJson] = {}
    lost: dict[str, str] = {}
    for stage in stages:
        directory = store.directory(stage)
        try:
            records[stage.address] = directory.read_record()
        except (StoreError, OSError):
            if record := _superseded(directory):
                records[stage.address] = record
                continue
            state = "damaged" if directory.is_done else "missing"
            lost[stage.address] = f"its {directory.record_file.name} is {state}"
    return records, lost


def _superseded(directory: StageDirectory) -> RecordJson | None:
    """Of a product that another sweep is just making again: what the result was made from is set aside there."""
    for aside in sorted(directory.path.glob("superseded-*"), key=lambda path: path.stat().st_mtime_ns, reverse=True):
        with suppress(StoreError, OSError):
            return StageDirectory(aside).read_record()
    return None


def _lost(graph: Graph, lost: Mapping[str, str]) -> list[str]:
    """What the manifest cannot say, and how it is made again: with the first stage that reads it."""
    readers: dict[str, str] = {}
    for stage in plan([graph.product], lambda stage: False).needed:
        for each in stage.rests_on():
            readers.setdefault(each.address, stage.name)
    return [
        f"{address}: {why}; its digest and cost are not known any more. redo={readers[address]} makes it again."
        for address, why in lost.items()
    ]
