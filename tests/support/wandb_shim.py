"""A W&B server for tests: openwandb, and around it what openwandb lacks of W&B's protocol.

openwandb takes every write of a run as before. The shim also keeps what is written (group, job type, whole summaries,
history, artifacts, views, charts) and answers what `wandb.Api`, wandb-workspaces and a resumed run read. Requests that
it does not know go to openwandb. Runs in openwandb's environment; tests/support/wandb_server.py starts it:

    python tests/support/wandb_shim.py PORT FOLDER

GET /shim/state returns what it keeps as JSON; POST /shim/refuse with a JSON list of fields of mutations makes those
fail, as a server of another version would.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support import wandb_graphql
from tests.support.wandb_answers import Answers, Artifact, Kept, Run, connection

MUTATED = ("groupName", "jobType", "displayName", "notes", "tags", "config", "summaryMetrics", "project", "entity")


class Writes:
    """Mutations that openwandb lacks. Each takes the input of the field and returns what may be selected of it."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        self.answers = Answers(kept)

    def root(self) -> dict[str, Any]:
        named: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "upsertView": self.view,
            "deleteView": self.no_view,
            "createCustomChart": self.chart,
            "upsertModel": self.project,
            "createArtifact": self.artifact,
            "createArtifactManifest": self.manifest,
            "updateArtifactManifest": self.manifest,
            "createArtifactFiles": self.artifact_files,
            "commitArtifact": self.commit,
            "useArtifact": self.use,
            "updateArtifact": self.update,
            "notifyScriptableRunAlert": self.alert,
        }
        return {name: lambda input, answer=answer: answer(input) for name, answer in named.items()}

    def view(self, given: dict[str, Any]) -> dict[str, Any]:
        id_ = given.get("id") or base64.b64encode(f"View:{len(self.kept.views) + 1}".encode()).decode()
        is_new = id_ not in self.kept.views
        self.kept.views[id_] = {**self.kept.views.get(id_, {}), **given, "id": id_}
        return {"view": self.answers.view(self.kept.views[id_]), "inserted": is_new}

    def no_view(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"success": self.kept.views.pop(given["id"], None) is not None}

    def chart(self, given: dict[str, Any]) -> dict[str, Any]:
        id_ = f"{given['entity']}/{given['name']}"
        if id_ in self.kept.charts:
            raise ValueError(f"a custom chart named {given['name']} exists")
        self.kept.charts[id_] = given
        return {"chart": {"id": id_}}

    def project(self, given: dict[str, Any]) -> dict[str, Any]:
        self.kept.projects.add(given["name"])
        return {
            "model": self.answers.named_project(given["name"]),
            "project": self.answers.named_project(given["name"]),
        }

    def artifact(self, given: dict[str, Any]) -> dict[str, Any]:
        collection, digest = given["artifactCollectionName"], given["digest"]
        versions = self.answers.versions(given["projectName"], collection)
        made = next((each for each in versions if each.digest == digest and each.state == "COMMITTED"), None)
        if made is None:
            made = Artifact(
                id=base64.b64encode(f"Artifact:{len(self.kept.artifacts) + 1}".encode()).decode(),
                type=given["artifactTypeName"],
                collection=collection,
                version=len(versions),
                run=given.get("runName") or "",
                project=given["projectName"],
                digest=digest,
                description=given.get("description"),
                metadata=given.get("metadata"),
                aliases=[],
                client=given.get("clientID"),
            )
            self.kept.artifacts[made.id] = made
        for alias in [each["alias"] for each in given.get("aliases") or []]:
            for each in versions:
                each.aliases = [name for name in each.aliases if name != alias]
            made.aliases.append(alias)
        latest = {"latestArtifact": {"id": versions[-1].id} if versions else None}
        return {"artifact": self.answers.artifact(made) | {"artifactSequence": latest}}

    def manifest(self, given: dict[str, Any]) -> dict[str, Any]:
        id_ = given.get("artifactID") or given["artifactManifestID"]
        url = f"{self.kept.address}/shim/blobs/manifest-{id_}"
        return {"artifactManifest": {"id": id_, "file": {"id": id_, "uploadUrl": url, "uploadHeaders": []}}}

    def artifact_files(self, given: dict[str, Any]) -> dict[str, Any]:
        def node(each: dict[str, Any]) -> dict[str, Any]:
            artifact = self.kept.artifacts[each["artifactID"]]
            artifact.files += [each["name"]] if each["name"] not in artifact.files else []
            url = self.kept.blob_url(artifact.id, each["name"])
            return {"storagePath": each["name"], "uploadUrl": url, "uploadHeaders": [], "artifact": {"id": artifact.id}}

        return {"files": connection([node(each) for each in given["artifactFiles"]])}

    def commit(self, given: dict[str, Any]) -> dict[str, Any]:
        artifact = self.kept.artifacts[given["artifactID"]]
        artifact.state = "COMMITTED"
        return {"artifact": self.answers.artifact(artifact)}

    def use(self, given: dict[str, Any]) -> dict[str, Any]:
        uses = self.kept.run(given["runName"]).uses
        if given["artifactID"] not in uses:
            uses.append(given["artifactID"])
        return {"artifact": self.answers.artifact(self.kept.artifacts[given["artifactID"]])}

    def update(self, given: dict[str, Any]) -> dict[str, Any]:
        artifact = self.kept.artifacts[given["artifactID"]]
        artifact.metadata = given.get("metadata") or artifact.metadata
        return {"artifact": self.answers.artifact(artifact)}

    def alert(self, given: dict[str, Any]) -> dict[str, Any]:
        self.kept.run(given["runName"]).alerts.append(given)
        return {"success": True}


def keep_run(kept: Kept, variables: Mapping[str, Any]) -> None:
    """Keep what upsertBucket writes."""
    name = variables.get("name")
    if not name:
        return
    project = variables.get("project") or "uncategorized"
    kept.projects.add(project)
    run = kept.run(name, project, variables.get("entity") or "")
    run.project = project
    run.written.update({key: variables[key] for key in MUTATED if variables.get(key) is not None})
    run.state, run.starts = variables.get("state") or "running", run.starts + 1


def keep_stream(kept: Kept, run: Run, sent: Mapping[str, Any]) -> None:
    """Keep what a run streams: lines of its history, its summary, its end."""
    for name, file in (sent.get("files") or {}).items():
        lines, offset = run.lines.setdefault(name, []), file.get("offset") or 0
        if name == "wandb-summary.json":
            lines[:] = file["content"][-1:]
        else:
            lines[offset : offset + len(file["content"])] = file["content"]
    if sent.get("complete"):
        run.state = "finished" if sent.get("exitcode") == 0 else "failed"


# ---------------------------------------------------------------------------------------------------- the server


@dataclass
class Reply:
    status: int
    body: bytes
    kind: bytes = b"application/json"


class Shim:
    """The ASGI application around that of openwandb."""

    def __init__(self, inner: Any, kept: Kept) -> None:
        self.inner, self.kept = inner, kept

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        body = await read(receive)
        reply = self.reply(scope["method"], scope["path"], body)
        if isinstance(reply, Reply):
            headers = [(b"content-type", reply.kind), (b"content-length", str(len(reply.body)).encode())]
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})
            await send({"type": "http.response.body", "body": reply.body})
            return
        await self.inner(with_length(scope, reply), replayed(reply, receive), send)

    def reply(self, method: str, path: str, body: bytes) -> Reply | bytes:
        """The answer, or the body that openwandb gets."""
        if path == "/graphql" and method == "POST":
            return self.graphql(json.loads(body), body)
        if path.startswith("/shim/"):
            return self.own(method, path, body)
        parts = path.split("/")
        if method == "POST" and path.endswith("/file_stream") and len(parts) == 6:
            keep_stream(self.kept, self.kept.run(parts[4], parts[3], parts[2]), json.loads(body))
        if method == "PUT" and path.startswith("/files/"):
            name, run = "/".join(parts[5:]), self.kept.run(parts[4], parts[3], parts[2])
            run.files += [name] if name not in run.files else []
        return body

    def own(self, method: str, path: str, body: bytes) -> Reply:
        if path == "/shim/state":
            return Reply(200, json.dumps(self.kept.as_json()).encode())
        if path == "/shim/refuse":
            self.kept.refused = json.loads(body)
            return Reply(200, b"{}")
        name = path.removeprefix("/shim/blobs/")
        if method == "PUT":
            self.kept.blobs[name] = body
            return Reply(200, b"{}")
        return Reply(200, self.kept.blobs[name]) if name in self.kept.blobs else Reply(404, b"{}")

    def graphql(self, asked: dict[str, Any], body: bytes) -> Reply | bytes:
        document = wandb_graphql.parsed(asked.get("query") or "", asked.get("variables") or {})
        known = Writes(self.kept).root() if document.kind == "mutation" else Answers(self.kept).root()
        if refused := document.fields.intersection(self.kept.refused):
            message = f"Cannot query field {', '.join(sorted(refused))}"
            return Reply(200, json.dumps({"data": None, "errors": [{"message": message}]}).encode())
        if document.fields <= set(known):
            try:
                return Reply(200, json.dumps({"data": document.answer(known)}).encode())
            except Exception as error:  # clients repeat a request that ends in status 500, for an hour
                message = f"{type(error).__name__}: {error}"
                self.kept.faults.append(f"{', '.join(sorted(document.fields))}: {message}")
                return Reply(200, json.dumps({"data": None, "errors": [{"message": message}]}).encode())
        if document.fields == {"upsertBucket"}:
            keep_run(self.kept, document.variables)
        else:
            self.kept.unknown.append(", ".join(sorted(document.fields)))
        if asked.get("operationName") == "":
            del asked["operationName"]
            return json.dumps(asked).encode()
        return body


async def read(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


def replayed(body: bytes, receive: Any) -> Any:
    """A `receive` that gives the body again, then what comes after it."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def give() -> Any:
        return messages.pop() if messages else await receive()

    return give


def with_length(scope: dict[str, Any], body: bytes) -> dict[str, Any]:
    headers = [each for each in scope["headers"] if each[0] != b"content-length"]
    return {**scope, "headers": [*headers, (b"content-length", str(len(body)).encode())]}


def main(port: int, folder: Path) -> None:
    os.environ.update(OPENWANDB_DATA_DIR=str(folder), OPENWANDB_HOST="127.0.0.1", OPENWANDB_PORT=str(port))
    inner = importlib.import_module("openwandb.server").app
    app = Shim(inner, Kept(f"http://127.0.0.1:{port}"))
    importlib.import_module("uvicorn").run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
