"""Datasets of the hub, each at its commit: pools, and the rows of tasks.

The files are those of the commit's snapshot (s1/hub.py); `datasets` reads them as a local directory, whose card says
which subsets and splits there are. What it prepares from them is kept by the content of the files, so that nothing read
at one commit is ever served for another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s1.config import ConfigError, Hub
from s1.hub import FETCH, first_line, snapshot
from s1.pins import RepoKind, name_of
from sweep.identity import key_of

if TYPE_CHECKING:
    from datasets import DatasetBuilder

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

    cache = Path(config.HF_DATASETS_CACHE) / "by_content" / _content_of(folder)
    builder = load_dataset_builder(str(folder), name=hub.subset, cache_dir=str(cache))
    builder.download_and_prepare()
    return builder


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
        return builder.as_dataset(split=hub.split)
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
