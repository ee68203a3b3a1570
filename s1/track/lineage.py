"""Lineage on W&B: data sets, checkpoints, traces and scores as artifacts that refer to files of the store.

Nothing is uploaded: an artifact lists files by `file://` address. W&B hashes a file to verify it, which takes minutes
for the weights of a large model, so files above `HASHED_BYTES` are listed by address alone. Runs of a checkpoint and a
point use the artifacts that they read and log those that they made, so W&B draws

    data -> checkpoint -> traces -> scores -> summary
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from s1.track.finished import FinishedStages
from s1.track.runs import JobType
from s1.track.tracked import Tracked

if TYPE_CHECKING:
    from wandb import Artifact, Run

HASHED_BYTES = 64 * 2**20


class ArtifactKind(Enum):
    """Type of an artifact on W&B; its name begins with the first word of `prefix`."""

    DATASET = "dataset"
    MODEL = "model"
    TRACES = "traces"
    SCORES = "scores"

    @property
    def prefix(self) -> str:
        return {ArtifactKind.DATASET: "data", ArtifactKind.MODEL: "checkpoint"}.get(self, self.value)


KINDS = {  # by the role in Tracked.inputs
    "data": ArtifactKind.DATASET,  # rendered training examples
    "questions": ArtifactKind.DATASET,
    "model": ArtifactKind.MODEL,
    "checkpoint": ArtifactKind.MODEL,
    "traces": ArtifactKind.TRACES,
    "scores": ArtifactKind.SCORES,
}
MADE: Mapping[JobType, Sequence[str]] = {  # roles that a run logs, inputs first; it uses all others
    JobType.CHECKPOINT: ("checkpoint",),
    JobType.POINT: ("traces", "scores"),
    JobType.SUMMARY: (),
}


@dataclass(frozen=True)
class Reference:
    """A stage as an artifact."""

    kind: ArtifactKind
    address: str

    @property
    def name(self) -> str:
        """`checkpoint-41687fbbc3b5`."""
        return f"{self.kind.prefix}-{self.address.rpartition('/')[2]}"


def used_by(run: Tracked) -> list[Reference]:
    """What a run reads."""
    return [each for role, each in _references(run) if role not in MADE[run.job_type]]


def made_by(run: Tracked) -> list[Reference]:
    """What a run makes, inputs first."""
    return [each for role, each in _references(run) if role in MADE[run.job_type]]


def _references(run: Tracked) -> list[tuple[str, Reference]]:
    return [
        (role, Reference(KINDS[role], address))
        for role, addresses in run.inputs.items()
        if role in KINDS
        for address in addresses
    ]


def log_lineage(run: Run, tracked: Tracked, stages: FinishedStages) -> None:
    """Declare what a run used and made. Offline, W&B cannot record use: the config names these artifacts instead."""
    if not run.offline:
        for each in used_by(tracked):
            run.use_artifact(artifact_of(each, stages))
    for each in made_by(tracked):
        artifact = run.log_artifact(artifact_of(each, stages))
        if not run.offline and each.kind is ArtifactKind.TRACES:
            artifact.wait()  # the scores of this run were made from them
            run.use_artifact(artifact)


def artifact_of(reference: Reference, stages: FinishedStages) -> Artifact:
    """The files of a finished stage. The same stage always gives the same artifact, whichever run declares it."""
    import wandb

    record, out = stages.record(reference.address), stages.out(reference.address)
    digest = stages.digest(reference.address)
    artifact = wandb.Artifact(
        reference.name, reference.kind.value, metadata={"stage": reference.address, "digest": digest}
    )
    for name, state in record.get("files", {}).items():
        address = (out / name).resolve().as_uri()
        artifact.add_reference(address, name, checksum=state["bytes"] <= HASHED_BYTES)
    return artifact
