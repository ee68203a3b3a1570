"""Publish the result of a command: copy its artifact to results/NAME/KEY with a manifest of all stages behind it.

Publishing never replaces a result. It copies to a temporary folder, verifies the copy against the record, and renames
the folder. If the same bytes are already published, nothing changes; different bytes under the same key become KEY-2.
Only files in the manifest count; users may add files of their own.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sweep.core.costs import devices_of
from sweep.core.pipeline import CostEstimate, Graph
from sweep.core.spending import Spending
from sweep.core.stage import Stage
from sweep.errors import InputError
from sweep.plan.graph import plan
from sweep.results.costs import SIDE_FILES, planned_of, spent_beside, stage_costs
from sweep.results.result import LATEST, MANIFEST, Result, latest_of, read_result, temporary_path, temporary_paths
from sweep.results.roots import write_root
from sweep.store.attempt import forget_hashes
from sweep.store.checksums import FileState, changed_files_by_hash, file_states
from sweep.store.directory import StageDirectory, Store, StoreError, write_json
from sweep.store.documents import BesideJson, ManifestJson, ManifestStage, PlannedCostJson, RecordJson
from sweep.store.temporary import is_abandoned, remove, token

IN_THE_WAY = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR)


@dataclass(frozen=True)
class Published:
    path: Path  # result directory
    manifest: ManifestJson
    warnings: tuple[str, ...] = ()  # one line each


def publish(graph: Graph, store: Store, results: Path) -> Published:
    """Publish the artifact unless it is published already, and point `latest` to it.

    Raises InputError if another file is in the way, StoreError if the artifact is damaged.
    """
    require_place(graph, store, results)
    made_from = manifest(graph, store)
    folder = results / graph.name
    folder.mkdir(parents=True, exist_ok=True)
    remove_abandoned(folder)
    taken = (folder / graph.artifact.key).exists()
    path, is_new = _publish(graph.artifact, store, folder, made_from)
    warnings = _lost(graph, made_from["lost"])
    if is_new and taken:
        warnings.append(f"{folder / graph.artifact.key}: has different content and was kept. Published as {path.name}.")
    return Published(path, made_from, (*warnings, *_point_latest(path)))


def require_place(graph: Graph, store: Store, results: Path) -> None:
    """Raises InputError if the result could not be published. A cheap check before a long run."""
    if results.resolve() == store.root.resolve():
        raise InputError(
            f"results {results}: this is the store, where results would look like stages. Choose another folder."
        )
    for folder in (results, results / graph.name):
        if os.path.lexists(folder) and not folder.is_dir():
            raise InputError(
                f"results {folder}: exists, and is not a folder. Move it away, or choose another results= or name=."
            )


def _publish(artifact: Stage, store: Store, folder: Path, made_from: ManifestJson) -> tuple[Path, bool]:
    """Path of the result, and whether it is new. Another process may publish the same at the same time."""
    temporary = temporary_path(folder, artifact.key, token())
    try:
        while True:
            there = _there(folder, artifact.key)
            same = next((each for each in _readable(there) if each.holds(made_from["files"])), None)
            if same is not None:
                write_root(store, same.path, same.manifest.content)
                return same.path, False
            place = _first_free(folder, artifact.key, there)
            if not temporary.exists():
                _copy(store.directory(artifact), made_from, temporary)
            write_root(store, place, made_from)  # before the result, so that prune never keeps too little
            try:
                temporary.rename(place)
            except OSError as error:
                if error.errno not in IN_THE_WAY:
                    raise
                continue  # another process has published under this name: compare with its result
            return place, True
    finally:
        remove(temporary)


def _there(folder: Path, key: str) -> set[Path]:
    """Existing paths with the name of a result of this key: KEY, KEY-2, KEY-3."""
    return {path for path in folder.glob(f"{key}*") if path.name.partition("-")[0] == key}


def _first_free(folder: Path, key: str, there: Collection[Path]) -> Path:
    """The first name in the order KEY, KEY-2, ... that is not in `there`; the rename fails if it exists by now."""
    names = itertools.chain([key], (f"{key}-{number}" for number in itertools.count(2)))
    return next(path for name in names if (path := folder / name) not in there)


def _readable(paths: Collection[Path]) -> Iterator[Result]:
    for path in sorted(paths):
        with suppress(StoreError):  # with a damaged manifest it cannot be compared
            if result := read_result(path):
                yield result


def _copy(artifact: StageDirectory, made_from: ManifestJson, temporary: Path) -> None:
    """Copy the artifact and write its manifest, flushed to disk. Raises StoreError if a byte differs."""
    if faults := artifact.faults():
        raise _damaged(artifact, faults)
    temporary.mkdir()
    for name in made_from["files"]:
        target = temporary / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copy_file(artifact.out / name, target)
    states = artifact.read_record().get("files")
    if states is not None and (faults := changed_files_by_hash(temporary, _files_of_result(states))):
        raise _damaged(artifact, faults)
    for name in made_from.get("side_files", {}):
        write_durably(temporary / name, SIDE_FILES[name](stage_costs(made_from["stages"], made_from.get("beside"))))
    write_json(temporary / MANIFEST, made_from)


def _damaged(artifact: StageDirectory, faults: Sequence[str]) -> StoreError:
    """Error for a damaged artifact; also makes the next plan hash every byte and find the damage."""
    forget_hashes(artifact)
    return StoreError(
        f"{artifact.address}: damaged, {faults[0]}. Nothing is published. Run the command again to set it aside and"
        " make it again."
    )


def remove_abandoned(folder: Path) -> None:
    """Remove temporary folders of killed publications from this folder."""
    for path, made_by in temporary_paths(folder):
        if is_abandoned(path, made_by):
            remove(path)


def copy_file(source: Path, target: Path) -> None:
    """Copy the content without metadata, and flush it to disk."""
    shutil.copyfile(source, target)
    with target.open("rb+") as file:
        os.fsync(file.fileno())


def write_durably(path: Path, text: str) -> None:
    """Write a new file, and flush it to disk."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _point_latest(result: Path) -> list[str]:
    """Point `latest` to this result; returns a warning line if that fails."""
    link = result.parent / LATEST
    if latest_of(result):
        return []
    is_ours = link.is_symlink() and link.readlink().name == str(link.readlink())  # in the same folder
    if os.path.lexists(link) and not is_ours:
        return [f"{link}: not a link to a result here, so it was kept. The result is {result}."]
    temporary = temporary_path(link.parent, LATEST, token())
    try:
        temporary.symlink_to(result.name, target_is_directory=True)
        temporary.replace(link)
    except OSError as error:  # file systems without links
        remove(temporary)
        return [f"{link}: not set ({error.strerror or error}). The result is {result}."]
    return []


# ------------------------------------------------------------------------------------------------- the manifest


def manifest(graph: Graph, store: Store) -> ManifestJson:
    """Content of manifest.json: digest, cost and commit of every stage behind the artifact; shards are omitted."""
    stages = plan([graph.artifact], lambda stage: False).needed
    shards = {shard.address for each in stages if store.is_done(each) for shard in each.shards}
    behind = {each.address: each for each in stages if each.address not in shards}
    records, lost = _records(list(behind.values()), store)
    artifact = store.directory(graph.artifact)
    record = artifact.read_record()
    files = record.get("files") or file_states(artifact.out)
    planned = planned_of(graph, store, list(behind.values()))
    described = {address: _described(graph, store, behind[address], record) for address, record in records.items()}
    for address, estimate in planned.items():
        if address in described:
            described[address] = _with_plan(described[address], estimate)
    beside = spent_beside(graph, store, described) if planned else Spending()
    other: BesideJson = {"usd": beside.usd, "device_seconds": beside.device_seconds}
    costs = stage_costs(described, other if beside != Spending() else None)
    content: ManifestJson = {
        "experiment": graph.name,
        "product": graph.artifact.address,
        "points": graph.points,
        "files": {name: state["sha256"] for name, state in _files_of_result(files).items()},
        "side_files": {
            name: hashlib.sha256(text(costs).encode()).hexdigest()
            for name, text in SIDE_FILES.items()
            if name not in files
        },
        "stages": described,
        "lost": lost,
        "remarks": list(graph.remarks({address: record["summary"] for address, record in records.items()})),
        "seconds": round(sum(record["seconds"] for record in records.values()), 3),
        "usd": round(sum(stage["usd"] for stage in described.values()), 6),
        "packages": record["provenance"]["packages"],
    }
    return content if beside == Spending() else {**content, "beside": other}


def _described(graph: Graph, store: Store, stage: Stage, record: RecordJson) -> ManifestStage:
    """Digest, origin and cost of one stage."""
    used = graph.usage(record["summary"])
    described: ManifestStage = {
        "digest": StageDirectory(store.root / stage.address).digest_by(record),
        "generation": record.get("generation", 0),
        "seconds": record["seconds"],
        "usd": round(record["usd"] + used.usd, 6),
        "summary": record["summary"],
        "commit": record["provenance"]["git"]["commit"],
        "finished_at": record["finished_at"],
        "device_seconds": round(record["seconds"] * devices_of(stage), 3),
    }
    return described if used.tokens is None else {**described, "tokens": used.tokens}


def _with_plan(described: ManifestStage, planned: CostEstimate | None) -> ManifestStage:
    """The stage with its estimate, if the commands for this result set out to make it."""
    if planned is None:
        return {**described, "reused": True}
    return {**described, "reused": False, "planned": _estimate_json(planned)}


def _estimate_json(planned: CostEstimate) -> PlannedCostJson:
    return {"tokens": planned.tokens, "device_seconds": planned.device_seconds, "usd": planned.usd}


def _files_of_result(files: Mapping[str, FileState]) -> dict[str, FileState]:
    """Artifact files that belong to the result; its own manifest.json is replaced by ours."""
    return {name: state for name, state in files.items() if name != MANIFEST}


def _records(stages: list[Stage], store: Store) -> tuple[dict[str, RecordJson], dict[str, str]]:
    """Records by address; and for stages without one the reason."""
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
    """Record of the newest superseded artifact, for a stage that another sweep is making again."""
    for superseded in sorted(
        directory.path.glob("superseded-*"), key=lambda path: path.stat().st_mtime_ns, reverse=True
    ):
        with suppress(StoreError, OSError):
            return StageDirectory(superseded).read_record()
    return None


def _lost(graph: Graph, lost: Mapping[str, str]) -> list[str]:
    """Warning lines for stages without a record."""
    readers: dict[str, str] = {}
    for stage in plan([graph.artifact], lambda stage: False).needed:
        for each in stage.dependencies():
            readers.setdefault(each.address, stage.name)
    return [
        f"{address}: {why}; its digest and cost are lost. Add redo={readers[address]} to make it again."
        for address, why in lost.items()
    ]
