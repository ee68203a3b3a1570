"""What stages would download, brought here while there is internet: compute nodes of a cluster have none.

Models come into the cache of huggingface_hub, datasets into that of `datasets`, where jobs with HF_HUB_OFFLINE=1 find
them. HF_HOME says where that is, and must be on a file system that all nodes see.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from s1.config import ConfigError, Hub, ModelKind
from s1.data.hub import load
from s1.stages import Collecting, Questions, Start
from s1.train.start import HUB_FILES
from sweep.stage import Stage


@dataclass(frozen=True)
class ModelNeed:
    """A repository at a commit."""

    repo: str
    revision: str | None


def needs_of(stages: Sequence[Stage]) -> tuple[ModelNeed | Hub, ...]:
    """Models and datasets of the hub that these stages read, each once. Pure."""
    found: dict[ModelNeed | Hub, None] = {}
    for stage in stages:
        config = stage.config
        if isinstance(config, Start) and config.kind is ModelKind.HUB and config.repo:
            found[ModelNeed(config.repo, config.revision)] = None
        if isinstance(config, Questions) and config.hub is not None:
            found[config.hub] = None
        if isinstance(config, Collecting) and config.pool.hub is not None:
            found[config.pool.hub] = None
    return tuple(found)


def prefetch(stages: Sequence[Stage]) -> Iterator[str]:
    """Bring them here, one line each. Raises ConfigError for what cannot be had."""
    for need in needs_of(stages):
        try:
            yield _model(need) if isinstance(need, ModelNeed) else _dataset(need)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ConfigError(
                f"{need.repo}: cannot be fetched ({reason}). Log in with internet, or fetch it before: see README."
            ) from None


def _model(need: ModelNeed) -> str:
    from huggingface_hub import snapshot_download

    path = snapshot_download(need.repo, revision=need.revision, allow_patterns=list(HUB_FILES))
    return f"model {need.repo} {need.revision}: {path}"


def _dataset(hub: Hub) -> str:
    return f"dataset {hub.repo} {hub.revision}: {len(load(hub))} rows"
