"""What the JSON files of a store and of a result hold, as types.

`NotRequired` marks what a file of an earlier version may lack, or what is written later than the rest.
"""

from __future__ import annotations

from typing import NotRequired, TypeAlias, TypedDict, final

from sweep.core.identity import Identity, Json
from sweep.core.provenance import Provenance
from sweep.core.stage import Summary
from sweep.store.checksums import FileState


@final
class StagePlace(TypedDict):
    """An input that is a stage."""

    stage: str  # its address in the store


@final
class FilePlace(TypedDict):
    """An input from outside the store."""

    file: str  # its path
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
    """stage.json: what a stage is, and how to make it."""

    identity: Identity
    config_type: str  # "package.module:Class"
    request_key: NotRequired[str]
    run: str  # "package.module:function"
    code: NotRequired[str]  # a CodePolicy
    roots: NotRequired[list[str]]
    batch: str | None
    worker: NotRequired[int]
    label: NotRequired[str]
    settings: dict[str, Json]
    resources: NotRequired[ResourcesJson]
    inputs: dict[str, list[Place]]  # by role
    shards: list[StagePlace]


class SourceJson(TypedDict):
    """The code that made a product."""

    roots: list[str]
    files: dict[str, str]  # digests by path


class RecordJson(TypedDict):
    """record.json: what a finished stage took and was made from."""

    key: str
    request_key: NotRequired[str | None]
    generation: NotRequired[int]
    identity: Identity
    summary: Summary
    seconds: float
    usd: float
    shards: list[str]  # keys
    inputs: NotRequired[dict[str, str]]  # digests of what was read, by address
    source: NotRequired[SourceJson]
    finished_at: str
    provenance: Provenance
    out: NotRequired[str]  # the directory of the product; from here on: written when it is published
    files: NotRequired[dict[str, FileState]]
    checksum: NotRequired[str]


class ReceiptJson(RecordJson):
    """record-<token>.json: a second copy of the record, and of stage.json."""

    described: NotRequired[StageJson]


class FailureJson(TypedDict):
    """failed.json."""

    error: str  # with its type
    message: str
    traceback: str
    failed_at: NotRequired[str]


class ManifestStage(TypedDict):
    """One stage that a result rests on."""

    digest: str
    generation: int
    seconds: float
    usd: float
    summary: Summary
    commit: str | None
    finished_at: str


class ManifestJson(TypedDict):
    """manifest.json of a result; that of an older version may lack all but `experiment` and `stages`."""

    experiment: str
    product: str  # its address
    points: int
    files: dict[str, str]  # sha256 by path
    stages: dict[str, ManifestStage]  # by address
    lost: dict[str, str]  # by address: why nothing is known of it
    remarks: list[str]
    seconds: float
    usd: float
    packages: dict[str, str]  # versions
