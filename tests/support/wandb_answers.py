"""What the W&B server of tests keeps, and what clients read of it: runs, views, artifacts (see wandb_shim.py)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

ENTITY = "default"
BORN = "2026-01-01T00:00:00"


@dataclass
class Run:
    """What was written to one run."""

    name: str
    project: str
    entity: str = ENTITY
    written: dict[str, Any] = field(default_factory=dict)  # the latest variables of upsertBucket
    lines: dict[str, list[str]] = field(default_factory=dict)  # of the streamed files
    state: str = "running"
    uses: list[str] = field(default_factory=list)  # ids of artifacts
    files: list[str] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    starts: int = 0

    @property
    def summary(self) -> dict[str, Any]:
        lines = self.lines.get("wandb-summary.json") or [self.written.get("summaryMetrics") or "{}"]
        return json.loads(lines[-1])

    @property
    def history(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines.get("wandb-history.jsonl", [])]


@dataclass
class Artifact:
    """One version of an artifact."""

    id: str
    type: str
    collection: str
    version: int
    run: str
    project: str
    digest: str
    description: str | None
    metadata: str | None
    aliases: list[str]
    client: str | None = None
    state: str = "PENDING"
    files: list[str] = field(default_factory=list)


@dataclass
class Kept:
    """All that the shim keeps."""

    address: str  # of the server
    runs: dict[str, Run] = field(default_factory=dict)
    views: dict[str, dict[str, Any]] = field(default_factory=dict)
    charts: dict[str, dict[str, Any]] = field(default_factory=dict)
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    projects: set[str] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)  # fields of requests that openwandb answers
    faults: list[str] = field(default_factory=list)  # requests that the shim failed to answer

    def run(self, name: str, project: str = "", entity: str = "") -> Run:
        return self.runs.setdefault(name, Run(name, project, entity or ENTITY))

    def blob_url(self, artifact: str, name: str) -> str:
        """Where a file of an artifact is sent and fetched."""
        return f"{self.address}/shim/blobs/{base64.urlsafe_b64encode(f'{artifact}/{name}'.encode()).decode()}"

    def as_json(self) -> dict[str, Any]:
        plain = asdict(self)
        plain.update(blobs=sorted(self.blobs), projects=sorted(self.projects))
        return plain


def typed(kind: str, **members: Any) -> dict[str, Any]:
    return {"__typename": kind, **members}


def connection(nodes: Sequence[Mapping[str, Any]], **of_edge: Callable[[Any], Any]) -> dict[str, Any]:
    """A page with all nodes."""
    edges = [
        {"cursor": str(index), "node": node, **{name: value(node) for name, value in of_edge.items()}}
        for index, node in enumerate(nodes)
    ]
    page = typed("PageInfo", hasNextPage=False, endCursor=None)
    return {"totalCount": len(nodes), "edges": edges, "pageInfo": page}


class Answers:
    """Values of the fields that queries read."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept

    def root(self) -> dict[str, Any]:
        return {
            "project": self.project,
            "model": self.project,
            "models": lambda **_: connection([self.project(name) for name in sorted(self.kept.projects)]),
            "view": lambda id: self.view(self.kept.views[id]) if id in self.kept.views else None,
            "artifact": lambda id: self.artifact(self.kept.artifacts[id]) if id in self.kept.artifacts else None,
            "clientIDMapping": self.client,
        }

    def client(self, clientID: str) -> dict[str, Any] | None:
        return next(({"serverID": each.id} for each in self.kept.artifacts.values() if each.client == clientID), None)

    def project(self, name: str = "", entityName: str | None = None, **_: Any) -> dict[str, Any]:
        def runs(filters: str | None = None, **_: Any) -> list[Run]:
            wanted = json.loads(filters or "{}")
            every = [each for each in self.kept.runs.values() if each.project == name]
            return [each for each in every if matches(wanted, each)]

        def views(viewType: str, viewName: str | None = None, **_: Any) -> dict[str, Any]:
            every = [each for each in self.kept.views.values() if each["projectName"] == name]
            kind = [each for each in every if each["type"] == viewType and viewName in (None, each["name"])]
            return connection([self.view(each) for each in kind])

        here = name

        def run(name: str, **_: Any) -> dict[str, Any] | None:
            found = self.kept.runs.get(name)
            return self.run(found) if found is not None and found.project == here else None

        return self.named_project(name, entityName) | {
            "runs": lambda **asked: connection([self.run(each) for each in runs(**asked)]),
            "runCount": lambda **asked: len(runs(**asked)),
            "run": run,
            "bucket": run,
            "allViews": views,
            "artifactCollectionMembership": lambda name: self.membership(here, name),
            "artifactType": lambda name="": self.artifact_type(here, name),
            "artifactCollection": lambda name: self.collection(here, name),
        }

    def named_project(self, name: str, entity: str | None = None) -> dict[str, Any]:
        """A project as runs, artifacts and views name it."""
        owner = {"__typename": "Entity", "id": "1", "name": entity or ENTITY}
        user = typed("User", id="1", username="local-user", name="local user", email="", admin=True, flags="{}")
        user |= {"apiKeys": connection([]), "teams": connection([]), "entity": entity or ENTITY}
        return typed(
            "Project",
            id="1",
            internalId=base64.b64encode(b"ProjectInternalId:1").decode(),
            name=name,
            entityName=entity or ENTITY,
            entity=owner,
            readOnly=False,
            createdAt=BORN,
            isBenchmark=False,
            user=user,
        )

    def run(self, run: Run) -> dict[str, Any]:
        history = run.lines.get("wandb-history.jsonl", [])
        events = run.lines.get("wandb-events.jsonl", [])
        config = json.dumps(configuration(run))
        keys = sorted({key for row in run.history for key in row})
        outputs = [each for each in self.kept.artifacts.values() if each.run == run.name]
        inputs = [self.kept.artifacts[each] for each in run.uses]
        last = max((row.get("_step", 0) for row in run.history), default=-1)
        return typed(
            "Run",
            id=base64.b64encode(run.name.encode()).decode(),
            name=run.name,
            projectId=1,
            project=self.named_project(run.project, run.entity),
            displayName=run.written.get("displayName"),
            state=run.state,
            config=config,
            wandbConfig=lambda keys=None: json.dumps(internal(run)),
            summaryMetrics=json.dumps(run.summary),
            systemMetrics=events[-1] if events else "{}",
            tags=run.written.get("tags") or [],
            group=run.written.get("groupName"),
            jobType=run.written.get("jobType"),
            notes=run.written.get("notes"),
            createdAt=BORN,
            heartbeatAt=BORN,
            user=typed("User", name="local user", username="local-user"),
            readOnly=False,
            stopped=False,
            historyLineCount=len(history),
            eventsLineCount=len(events),
            logLineCount=len(run.lines.get("output.log", [])),
            historyTail=json.dumps(history[-1:]),
            eventsTail=json.dumps(events[-1:]),
            historyKeys={"lastStep": last, "sets": [], "keys": {key: {} for key in keys}},
            history=lambda minStep=0, maxStep=2**62, **_: [
                json.dumps(row) for row in run.history if minStep <= row.get("_step", 0) < maxStep
            ],
            sampledHistory=lambda specs: [sampled(run.history, json.loads(spec)) for spec in specs],
            parquetHistory=lambda **_: {"parquetUrls": [], "liveData": run.history},
            fileCount=len(run.files),
            files=lambda **asked: self.files(run, **asked),
            inputArtifacts=lambda **_: connection([self.artifact(each) for each in inputs]),
            outputArtifacts=lambda **_: connection([self.artifact(each) for each in outputs]),
        )

    def files(self, run: Run, names: Sequence[str] = (), pattern: str | None = None, **_: Any) -> dict[str, Any]:
        wanted = [name for name in run.files if not names or name in names]
        return connection([self.file(run, name) for name in wanted])

    def file(self, run: Run, name: str) -> dict[str, Any]:
        url = f"{self.kept.address}/files/{run.entity}/{run.project}/{run.name}/{name}"
        return typed("File", id=name, name=name, directUrl=url, url=lambda **_: url, sizeBytes=0, updatedAt=BORN)

    def view(self, view: Mapping[str, Any]) -> dict[str, Any]:
        shown = {name: view.get(name) for name in ("id", "type", "name", "displayName", "description", "spec")}
        project = self.named_project(view["projectName"], view.get("entityName"))
        user = typed("User", name="local user", username="local-user", email="", photoUrl=None)
        return typed("View", **shown, project=project, user=user, updatedAt=BORN, createdAt=BORN)

    def artifact(self, artifact: Artifact) -> dict[str, Any]:
        run = self.kept.run(artifact.run)
        users = [each for each in self.kept.runs.values() if artifact.id in each.uses]
        collection = self.collection_of(artifact)
        aliases = [
            typed("ArtifactAlias", id=f"{artifact.id}:{alias}", alias=alias, artifactCollection=collection)
            for alias in [*artifact.aliases, f"v{artifact.version}"]
        ]
        url = f"{self.kept.address}/shim/blobs/manifest-{artifact.id}"
        return typed(
            "Artifact",
            id=artifact.id,
            artifactSequence=collection,
            artifactType=typed("ArtifactType", id="1", name=artifact.type),
            versionIndex=artifact.version,
            description=artifact.description,
            metadata=artifact.metadata or "{}",
            tags=[],
            state=artifact.state,
            size=0,
            fileCount=0,
            digest=artifact.digest,
            digestAlgorithm="MANIFEST_MD5",
            commitHash=artifact.digest[:12],
            ttlDurationSeconds=-2,
            ttlIsInherited=True,
            createdAt=BORN,
            updatedAt=BORN,
            aliases=aliases,
            createdBy=lambda: self.run(run),
            usedBy=lambda **_: connection([self.run(each) for each in users]),
            currentManifest={"file": typed("File", directUrl=url)},
        )

    def artifact_file(self, artifact: Artifact, name: str) -> dict[str, Any]:
        url = self.kept.blob_url(artifact.id, name)
        return typed("File", id=name, name=name, displayName=name, directUrl=url, url=url, sizeBytes=0, updatedAt=BORN)

    def collection_of(self, artifact: Artifact) -> dict[str, Any]:
        return typed(
            "ArtifactSequence",
            id=artifact.collection,
            name=artifact.collection,
            project=self.named_project(artifact.project),
        )

    def versions(self, project: str, collection: str) -> list[Artifact]:
        every = self.kept.artifacts.values()
        return [each for each in every if (each.project, each.collection) == (project, collection)]

    def collection(self, project: str, name: str) -> dict[str, Any] | None:
        versions = self.versions(project, name)
        if not versions:
            return None
        return self.collection_of(versions[-1]) | {
            "artifactMembership": lambda aliasName: self.membership(project, f"{name}:{aliasName}"),
            "artifacts": lambda **_: connection(
                [self.artifact(each) for each in versions], version=lambda node: f"v{node['versionIndex']}"
            ),
        }

    def artifact_type(self, project: str, name: str) -> dict[str, Any]:
        every = [each for each in self.kept.artifacts.values() if each.project == project]
        names = dict.fromkeys(each.collection for each in every if each.type == name)
        return typed(
            "ArtifactType",
            id="1",
            name=name,
            createdAt=BORN,
            artifactCollection=lambda name: self.collection(project, name),
            artifactCollections=lambda **_: connection([self.collection(project, each) or {} for each in names]),
        )

    def membership(self, project: str, name: str) -> dict[str, Any] | None:
        collection, _, alias = name.partition(":")
        for each in reversed(self.versions(project, collection)):
            if alias in ("latest", "", f"v{each.version}", *each.aliases):
                found = self.artifact(each)
                return typed(
                    "ArtifactCollectionMembership",
                    id=each.id,
                    versionIndex=each.version,
                    createdAt=BORN,
                    aliases=found["aliases"],
                    artifactCollection=self.collection_of(each),
                    artifact=found,
                    files=lambda each=each, **_: connection([self.artifact_file(each, name) for name in each.files]),
                )
        return None


def configuration(run: Run) -> dict[str, Any]:
    """The configuration as W&B keeps it: each value in {"value": ...}."""
    return json.loads(run.written.get("config") or "{}")


def internal(run: Run) -> dict[str, Any]:
    """What the SDK keeps of itself; a run without it does not resume."""
    return configuration(run).get("_wandb", {}).get("value", {})


def value_at(run: Run, key: str) -> Any:
    """The value that a filter of `Api.runs` names."""
    head, _, rest = key.partition(".")
    plain = {"group": "groupName", "jobType": "jobType", "display_name": "displayName", "displayName": "displayName"}
    if head == "config":
        names = rest.removesuffix(".value").split(".")
        value: Any = configuration(run).get(names[0], {}).get("value")
        for name in names[1:]:
            value = value.get(name) if isinstance(value, dict) else None
        return value
    if head in ("summary_metrics", "summary"):
        return run.summary.get(rest)
    if head == "tags":
        return run.written.get("tags") or []
    return {"name": run.name, "state": run.state}.get(head) or run.written.get(plain.get(head, head))


def matches(wanted: Mapping[str, Any], run: Run) -> bool:
    """Whether a run passes a filter: $and, $or, equality, $in, $ne, $gt, $gte, $lt, $lte."""
    for key, condition in wanted.items():
        if key in ("$and", "$or"):
            each = [matches(part, run) for part in condition]
            if each and not (all(each) if key == "$and" else any(each)):
                return False
            continue
        value = value_at(run, key)
        tests = condition if isinstance(condition, dict) else {"$eq": condition}
        if not all(compares(value, operator, other) for operator, other in tests.items()):
            return False
    return True


def compares(value: Any, operator: str, other: Any) -> bool:
    if operator == "$eq":
        return other in value if isinstance(value, list) else value == other
    if operator == "$ne":
        return value != other
    if operator == "$in":
        return bool(set(value) & set(other)) if isinstance(value, list) else value in other
    ordered: dict[str, Callable[[Any, Any], bool]] = {
        "$gt": lambda a, b: a > b,
        "$gte": lambda a, b: a >= b,
        "$lt": lambda a, b: a < b,
        "$lte": lambda a, b: a <= b,
    }
    return value is not None and ordered[operator](value, other)


def sampled(history: Sequence[Mapping[str, Any]], spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows that have all keys of the request."""
    keys = spec.get("keys") or []
    if not keys:
        return list(history)
    return [{key: row[key] for key in keys} for row in history if all(key in row for key in keys)]
