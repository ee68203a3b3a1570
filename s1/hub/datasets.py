"""Datasets of the hub, each at its commit: pools, and the rows of tasks.

The files are those of the commit's snapshot, hashed (s1/hub/files.py); `datasets` reads them as a local directory,
whose card
says which subsets and splits there are. What it prepares from them is kept by the content of the files, so that nothing
read at one commit is ever served for another, and beside it the sha256 of what it prepared: a damaged table is prepared
again.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from s1.config.schema import ConfigError, Hub
from s1.hub.files import FETCH, first_line, snapshot, verified
from s1.hub.pins import RepoKind, name_of
from sweep.core.identity import key_of
from sweep.hashing import hashed_once

if TYPE_CHECKING:
    from datasets import DatasetBuilder

log = logging.getLogger(__name__)

# Data, and the card that says how it is divided. No code: a loading script would not be run anyway.
DATASET_FILES = (
    *("README.md", ".huggingface.yaml", "*.parquet", "*.arrow", "*.json", "*.jsonl", "*.ndjson", "*.csv", "*.tsv"),
    *("*.txt", "*.gz", "*.bz2", "*.xz", "*.zst", "*.lz4", "*.zip"),
)


def rows_at(hub: Hub, field: str, instead: str = "") -> Sequence[Mapping[str, Any]]:
    """All rows at the commit of a field of the configuration.

    Raises ConfigError, one line that ends in what to do `instead`, for anything else than that commit, whole.
    """
    name = name_of(RepoKind.DATASET, hub.repo, hub.revision)
    folder = snapshot(field, name, DATASET_FILES, instead)
    verified(field, name, folder, DATASET_FILES)
    try:
        _check_subset(hub, folder, field)
        builder = _prepared(hub, folder)
    except ConfigError:
        raise
    except _errors_of_datasets() as error:
        subset, reason = f", subset {hub.subset}" if hub.subset else "", first_line(error.__cause__ or error)
        rest = f", or {instead}." if instead else "."
        raise ConfigError(
            f"{field} {hub.repo}: commit {hub.revision}{subset} cannot be read from the cache ({reason})."
            f" If files are damaged, remove {folder.parents[1]}. {FETCH}{rest}"
        ) from None
    return _split_of(builder, hub, field)


def _prepared(hub: Hub, folder: Path) -> DatasetBuilder:
    """The subset, read from the files or found as it was read from the same files before."""
    from datasets import config, load_dataset_builder

    cache = Path(config.HF_DATASETS_CACHE) / "by_checked_content" / _content_of(folder)
    builder = load_dataset_builder(str(folder), name=hub.subset, cache_dir=str(cache))
    tables = Path(builder.cache_dir)
    mark = tables.with_name(f"{tables.name}.sha256.json")
    builder.download_and_prepare()
    if mark.exists() and _hashes_in(tables) != _read_mark(mark):
        log.warning("%s: not as it was prepared. It is prepared again.", tables)
        shutil.rmtree(tables)
        mark.unlink()
        builder = load_dataset_builder(str(folder), name=hub.subset, cache_dir=str(cache))
        builder.download_and_prepare()
    if not mark.exists():
        aside = mark.with_name(f".{mark.name}.{os.getpid()}")
        aside.write_text(json.dumps(_hashes_in(tables)), encoding="utf-8")
        aside.replace(mark)
    return builder


def _hashes_in(tables: Path) -> dict[str, str]:
    files = {path.relative_to(tables).as_posix(): path for path in sorted(tables.rglob("*")) if path.is_file()}
    hashes = hashed_once(files.values())
    return {place: hashes[path] for place, path in files.items()}


def _read_mark(mark: Path) -> Any:
    try:
        return json.loads(mark.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _content_of(folder: Path) -> str:
    """A key of the files; in the hub's cache they are links to blobs that are named after their content."""
    files = {
        path.relative_to(folder).as_posix(): [path.resolve().name, path.stat().st_size, path.stat().st_mtime_ns]
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return key_of(files)


def _check_subset(hub: Hub, folder: Path, field: str) -> None:
    from datasets import get_dataset_config_names, get_dataset_default_config_name

    there = get_dataset_config_names(str(folder))
    if hub.subset is not None and hub.subset not in there:
        raise ConfigError(
            f"{field}.subset {hub.subset!r}: not in {hub.repo} at commit {hub.revision} (there: {', '.join(there)})."
            " Name one of these."
        )
    if hub.subset is None and get_dataset_default_config_name(str(folder)) is None:
        raise ConfigError(
            f"{field}.subset null: {hub.repo} has several, and none by default (there: {', '.join(there)})."
            " Name one of these."
        )


def _split_of(builder: DatasetBuilder, hub: Hub, field: str) -> Sequence[Mapping[str, Any]]:
    """A split, or what an expression such as train[:100] or train+test makes of them."""
    try:
        return cast(Sequence[Mapping[str, Any]], builder.as_dataset(split=hub.split))  # a Dataset: of one split
    except ValueError as error:
        there = ", ".join(builder.info.splits or ()) or "none"
        raise ConfigError(
            f"{field}.split {hub.split!r}: not in {hub.repo} at commit {hub.revision} ({first_line(error)})."
            f" Name what is there: {there}."
        ) from None


def _errors_of_datasets() -> tuple[type[Exception], ...]:
    """What `datasets` raises over files that are missing, broken or empty, and over a card of another form."""
    from datasets.exceptions import DatasetsError
    from yaml import YAMLError

    return (OSError, ValueError, DatasetsError, YAMLError, AttributeError, KeyError, StopIteration, TypeError)
