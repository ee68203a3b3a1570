"""Check local row files while planning, so that a bad file is refused before any job is queued."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from s1.config.data import PoolSource
from s1.config.schema import ConfigError
from s1.data.columns import check_columns
from s1.evaluate.rows import rows_of_file
from s1.evaluate.task_files import TASKS, task_file
from s1.records import read_objects

READ_WHOLE_BYTES = 64 * 2**20  # larger pools: only the first row is checked, to keep planning fast
PARQUET = b"PAR1"  # first and last bytes of a parquet file


def check_task_rows(task: str, path: Path) -> None:
    """Check the rows of a task. Raises ConfigError naming the line."""
    _check_task_rows(task_file(task).parent == TASKS, path, path.stat().st_mtime_ns)


def check_pool_rows(pool: PoolSource, path: Path) -> None:
    """Check a pool file. JSON: the rows, and the columns of the first. Parquet: only whether the file is complete."""
    size = path.stat().st_size
    if path.suffix == ".parquet":
        _check_parquet(path, size)
        return
    _check_objects(path, path.stat().st_mtime_ns, size <= READ_WHOLE_BYTES)
    first = next(read_objects(path), None)
    check_columns(pool, first)


@cache
def _check_task_rows(is_ours: bool, path: Path, changed_ns: int) -> None:
    """Cached by modification time, because every point of a sweep checks the same file."""
    if is_ours:
        rows_of_file(path)
    elif not any(1 for _ in read_objects(path)):
        raise ConfigError(f"task.data_file {path}: no rows. Write one JSON object per line.")


@cache
def _check_objects(path: Path, changed_ns: int, whole: bool) -> None:
    for _ in read_objects(path):
        if not whole:
            return


def _check_parquet(path: Path, size: int) -> None:
    with path.open("rb") as file:
        begins = file.read(len(PARQUET))
        file.seek(max(0, size - len(PARQUET)), os.SEEK_SET)
        ends = file.read()
    if not begins == ends == PARQUET or size < 3 * len(PARQUET):
        raise ConfigError(
            f"data.pool.file {path}: not a complete parquet file ({size:,} bytes). Write or copy it again."
        )
