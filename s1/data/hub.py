"""Datasets of the hub, each at its commit: pools, and the rows of tasks.

The files are those of the commit's snapshot (s1/hub.py); `datasets` reads them as a local directory, whose card says
which subsets and splits there are. What it prepares from them is kept by the content of the files, so that nothing read
at one commit is ever served for another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from s1.config import ConfigError, Hub
from s1.hub import FETCH, first_line, snapshot
from s1.pins import RepoKind, name_of
from sweep.identity import key_of

# Data, and the card that says how it is divided. No code: a loading script would not be run anyway.
DATASET_FILES = (
    *("README.md", ".huggingface.yaml", "*.parquet", "*.arrow", "*.json", "*.jsonl", "*.ndjson", "*.csv", "*.tsv"),
    *("*.txt", "*.gz", "*.bz2", "*.xz", "*.zst", "*.lz4", "*.zip"),
)


def rows_at(hub: Hub, field: str, instead: str = "") -> Sequence[Mapping[str, Any]]:
    """All rows at the commit of a field of the configuration.

    Raises ConfigError, one line that ends in what to do `instead`, for anything else than that commit, whole.
    """
    folder = snapshot(field, name_of(RepoKind.DATASET, hub.repo, hub.revision), DATASET_FILES, instead)
    where = f"{field} {hub.repo}"
    try:
        _check_subset(hub, folder, field)
        _check_split(hub, folder, field)
        return _load(hub, folder)
    except ConfigError:
        raise
    except _errors_of_datasets() as error:
        rest = f", or {instead}." if instead else "."
        reason = first_line(error.__cause__ or error)
        subset = f", subset {hub.subset}" if hub.subset else ""
        raise ConfigError(
            f"{where}: commit {hub.revision}{subset} cannot be read from the cache ({reason}). Files may be missing or"
            f" damaged: remove {folder}. {FETCH}{rest}"
        ) from None


def _load(hub: Hub, folder: Path) -> Sequence[Mapping[str, Any]]:
    from datasets import config, load_dataset

    cache = Path(config.HF_DATASETS_CACHE) / "by_content" / _content_of(folder)
    return load_dataset(str(folder), name=hub.subset, split=hub.split, cache_dir=str(cache))


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
            " Name one of these, or fetch the whole commit."
        )
    if hub.subset is None and get_dataset_default_config_name(str(folder)) is None:
        raise ConfigError(
            f"{field}.subset null: {hub.repo} has several, and none by default (there: {', '.join(there)})."
            " Name one of these."
        )


def _check_split(hub: Hub, folder: Path, field: str) -> None:
    """The split that is named, also within train[:100] or train+test."""
    from datasets import get_dataset_split_names

    there = get_dataset_split_names(str(folder), hub.subset)
    for name in (part.partition("[")[0].strip() for part in re.split(r"\+", hub.split)):
        if name not in (*there, "all"):
            raise ConfigError(
                f"{field}.split {hub.split!r}: not in {hub.repo} at commit {hub.revision} (there: {', '.join(there)})."
                " Name one of these."
            )


def _errors_of_datasets() -> tuple[type[Exception], ...]:
    """All that `datasets` raises over files that are not there or that it cannot read."""
    from datasets.exceptions import DatasetsError
    from yaml import YAMLError

    return (OSError, ValueError, DatasetsError, YAMLError)
