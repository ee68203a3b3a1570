"""Download what stages will need while there is internet, because compute nodes of a cluster often have none.

Models and datasets go into the cache of huggingface_hub, each as a whole snapshot of its commit, where jobs with
HF_HUB_OFFLINE=1 find them. HF_HOME sets the folder, which must be on a file system that all nodes see.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from s1.config.data import PoolKind
from s1.config.schema import Hub, ModelKind
from s1.hub.datasets import rows_at
from s1.models.location import verified_snapshot
from s1.stages import BaseModelConfig, PoolConfig, QuestionsConfig
from sweep.core.stage import Stage


@dataclass(frozen=True)
class ModelNeed:
    """A model repository at a commit."""

    repo: str
    revision: str | None


def needs_of(stages: Sequence[Stage]) -> tuple[ModelNeed | Hub, ...]:
    """Hub models and datasets that these stages read, without duplicates. Pure.

    A finished base model only points into the cache, so stages that are made from one need it there too.
    """
    found: dict[ModelNeed | Hub, None] = {}
    models = [each for stage in stages for each in stage.inputs.get("model", ()) if isinstance(each, Stage)]
    for stage in (*stages, *models):
        config = stage.config
        if isinstance(config, BaseModelConfig) and config.kind is ModelKind.HUB and config.repo:
            found[ModelNeed(config.repo, config.revision)] = None
        if isinstance(config, QuestionsConfig) and config.hub is not None:
            found[config.hub] = None
        if isinstance(config, PoolConfig) and config.pool.kind is PoolKind.HUB and config.pool.hub is not None:
            found[config.pool.hub] = None
    return tuple(found)


def prefetch(stages: Sequence[Stage]) -> Iterator[str]:
    """Download them, yielding one line each. Raises ConfigError for one that cannot be downloaded."""
    for need in needs_of(stages):
        if isinstance(need, ModelNeed):
            folder, _ = verified_snapshot(need.repo, need.revision)
            yield f"model {need.repo} {need.revision}: {folder}"
        else:
            yield f"dataset {need.repo} {need.revision}: {len(rows_at(need, 'dataset'))} rows"
