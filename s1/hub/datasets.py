"""Load hub datasets at a fixed commit: pools, and the rows of tasks.

The files come from the commit's snapshot, with verified hashes (s1/hub/files.py). `datasets` reads them as a local
directory; its card lists subsets and splits. Prepared tables are cached under a key of the files' content, so that rows
of one commit are never used for another. Their sha256 is stored with them: a damaged table is prepared again.
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

# Data files, and the card that lists subsets and splits. No code: loading scripts are never run.
DATASET_FILES = (
    *("README.md", ".huggingface.yaml", "*.parquet", "*.arrow", "*.json", "*.jsonl", "*.ndjson", "*.csv", "*.tsv"),
    *("*.txt", "*.gz", "*.bz2", "*.xz", "*.zst", "*.lz4", "*.zip"),
)


def rows_at(hub: Hub, field: str, instead: str = "") -> Sequence[Mapping[str, Any]]:
    """All rows of a dataset at its commit; `field` is its place in the configuration.

    Raises ConfigError, one line that ends in the alternative `instead`, unless the whole commit can be read.
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
    """Prepare the subset from the files, or reuse the tables prepared from the same files before."""
    from datasets import config, load_dataset_builder

    cache = Path(config.HF_DATASETS_CACHE) / "by_checked_content" / _content_of(folder)
    builder = load_dataset_builder(str(folder), name=hub.subset, cache_dir=str(cache))
    tables = Path(builder.cache_dir)
    mark = tables.with_name(f"{tables.name}.sha256.json")
    builder.download_and_prepare()
    if mark.exists() and _hashes_in(tables) != _read_mark(mark):
        log.warning("%s: changed since it was prepared. It is prepared again.", tables)
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
    """A key of the files' content; files in the hub's cache link to blobs named after their hash."""
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
            f"{field}.subset {hub.subset!r}: not in {hub.repo} at commit {hub.revision} (subsets: {', '.join(there)})."
            " Name one of these."
        )
    if hub.subset is None and get_dataset_default_config_name(str(folder)) is None:
        raise ConfigError(
            f"{field}.subset null: {hub.repo} has several subsets and no default (subsets: {', '.join(there)})."
            " Name one of these."
        )


def _split_of(builder: DatasetBuilder, hub: Hub, field: str) -> Sequence[Mapping[str, Any]]:
    """A split, or a split expression such as train[:100] or train+test."""
    try:
        return cast(Sequence[Mapping[str, Any]], builder.as_dataset(split=hub.split))  # a split is a Dataset
    except ValueError as error:
        there = ", ".join(builder.info.splits or ()) or "none"
        raise ConfigError(
            f"{field}.split {hub.split!r}: not in {hub.repo} at commit {hub.revision} ({first_line(error)})."
            f" Name one of these: {there}."
        ) from None


def _errors_of_datasets() -> tuple[type[Exception], ...]:
    """Errors that `datasets` raises for missing, damaged or empty files, and for an invalid card."""
    from datasets.exceptions import DatasetsError
    from yaml import YAMLError

    return (OSError, ValueError, DatasetsError, YAMLError, AttributeError, KeyError, StopIteration, TypeError)
