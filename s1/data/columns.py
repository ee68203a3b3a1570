"""Check the columns that a pool's config names against its first row, while planning and again in the worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from s1.config.data import Columns, PoolSource
from s1.config.schema import ConfigError


def check_columns(pool: PoolSource, first: Mapping[str, Any] | None) -> None:
    """Raises ConfigError if there is no first row, or if it lacks a column that the pool names."""
    if first is None:
        raise ConfigError(f"data.pool {pool.name}: no rows. Give a file or a dataset that has some.")
    for name in _column_names(pool):
        if name not in first:
            raise ConfigError(
                f"data.pool.columns {name!r}: no such column in {pool.name} (columns: {', '.join(first)})."
                " Name one of these, or null."
            )


def _column_names(pool: PoolSource) -> list[str]:
    """The columns that the pool's config names."""
    if pool.conversation:
        return [pool.conversation.column]
    columns: Columns = pool.columns
    optional = (columns.solution, columns.source, columns.thinking, columns.answer, columns.domain)
    return [columns.question, *(name for name in optional if name is not None)]
