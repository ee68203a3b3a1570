"""Datasets of the hub, each at its commit: pools, and the rows of tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from s1.config import ConfigError, Hub


def load(hub: Hub) -> Sequence[Mapping[str, Any]]:
    """All rows, from the cache if they were fetched before. Raises OSError."""
    from datasets import load_dataset

    return load_dataset(hub.repo, name=hub.subset, split=hub.split, revision=hub.revision)


def rows_at(hub: Hub, field: str, instead: str) -> Sequence[Mapping[str, Any]]:
    """The same for a field of the configuration. Raises ConfigError that says what to do `instead`."""
    try:
        return load(hub)
    except OSError as error:  # no network, no access, no such revision
        reason = f"{type(error).__name__}: {str(error).splitlines()[0].rstrip('.')}"
        raise ConfigError(
            f"{field} {hub.repo}: cannot be loaded ({reason}). Check network and access (hf auth login), or {instead}."
        ) from error
