"""The columns that a pool names, held against its first row: by whoever plans, and by the worker that collects it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from s1.config.data import Columns, Pool
from s1.config.schema import ConfigError


def check_columns(pool: Pool, first: Mapping[str, Any] | None) -> None:
    """Raises ConfigError unless there is a first row, with the columns that the pool names."""
    if first is None:
        raise ConfigError(f"data.pool {pool.name}: no rows. Give a file or a dataset that has some.")
    for name in _named(pool):
        if name not in first:
            raise ConfigError(
                f"data.pool.columns {name!r}: no such column in {pool.name} (there: {', '.join(first)})."
                " Name one of these, or null."
            )


def _named(pool: Pool) -> list[str]:
    """The columns that the pool says it has."""
    if pool.conversation:
        return [pool.conversation.column]
    columns: Columns = pool.columns
    optional = (columns.solution, columns.source, columns.thinking, columns.answer, columns.domain)
    return [columns.question, *(name for name in optional if name is not None)]
