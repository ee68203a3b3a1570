"""Types of the JSON files in a stage directory and of the manifest of a result.

`NotRequired` marks fields that files of earlier versions lack, and fields that are only written on publication.
"""

from __future__ import annotations

from typing import NotRequired, TypeAlias, TypedDict, final

from sweep.core.identity import Identity, Json
from sweep.core.provenance import Provenance
from sweep.core.stage import Summary
from sweep.store.checksums import FileState


@final
class StagePlace(TypedDict):
    """An input or shard that is a stage."""

    stage: str  # address in the store


@final
class FilePlace(TypedDict):
    """An input from outside the store."""

    file: str  # path
    key: str  # of its content


Place: TypeAlias = StagePlace | FilePlace


class ResourcesJson(TypedDict, total=False):
    """The fields of sweep.core.stage.Resources."""

    script: str
    nodes: int
    devices: int
    processes: int
    cpus: int | None
    memory_gib: int | None
    minutes: int | None


class StageJson(TypedDict):
    """stage.json: identity of a stage, and everything needed to run it."""

    identity: Identity
    config_type: str  # "package.module:Class"
    request_key: NotRequired[str]
    run: str  # "package.module:function"
    code: NotRequired[str]  # value of a CodePolicy
    roots: NotRequired[list[str]]
    batch: str | None
    worker: NotRequired[int]
    label: NotRequired[str]
    settings: dict[str, Json]
    resources: NotRequired[ResourcesJson]
    inputs: dict[str, list[Place]]  # by role
    shards: list[StagePlace]


class SourceJson(TypedDict):
    """Code that made an artifact."""

    roots: list[str]
    files: dict[str, str]  # digests by path


class RecordJson(TypedDict):
    """record.json: cost, origin and files of a finished stage."""

    key: str
    request_key: NotRequired[str | None]
    generation: NotRequired[int]
    identity: Identity
    summary: Summary
    seconds: float
    usd: float
    shards: list[str]  # keys
    inputs: NotRequired[dict[str, str]]  # digests of the artifacts that were read, by address
    source: NotRequired[SourceJson]
    finished_at: str
    provenance: Provenance
    out: NotRequired[str]  # artifact directory; this and the following are written on publication
    files: NotRequired[dict[str, FileState]]
    checksum: NotRequired[str]


class RecordCopyJson(RecordJson):
    """record-<token>.json: second copy of record.json and stage.json."""

    described: NotRequired[StageJson]


class FailureJson(TypedDict):
    """failed.json: why a stage failed."""

    error: str  # type and message
    message: str
    traceback: str
    failed_at: NotRequired[str]


class PlannedCostJson(TypedDict):
    """Fields of sweep.core.pipeline.CostEstimate; null: unknown."""

    tokens: int | None
    device_seconds: float | None
    usd: float | None


class ManifestStage(TypedDict):
    """One stage behind a result."""

    digest: str
    generation: int
    seconds: float
    usd: float
    summary: Summary
    commit: str | None
    finished_at: str
    device_seconds: NotRequired[float]
    tokens: NotRequired[int]  # trained, sampled or paid for
    planned: NotRequired[PlannedCostJson]  # estimate of the command that set out to make it
    reused: NotRequired[bool]  # made for an earlier result; absent: unknown


class BesideJson(TypedDict):
    """What was spent on a result and is in none of its stages: other attempts, probes and earlier rounds."""

    usd: float
    device_seconds: float


class ManifestJson(TypedDict):
    """manifest.json of a result. Those of earlier versions may lack all fields but `experiment` and `stages`."""

    experiment: str
    product: str  # address of the artifact
    points: int
    files: dict[str, str]  # sha256 by path
    side_files: NotRequired[dict[str, str]]  # sha256 by path; they change with costs, not with the product
    stages: dict[str, ManifestStage]  # by address
    beside: NotRequired[BesideJson]
    lost: dict[str, str]  # why a stage has no record, by address
    remarks: list[str]
    seconds: float
    usd: float
    packages: dict[str, str]  # versions
