"""A hub cache laid out on disk, and a hub over HTTP on this machine."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.support.loopback import QuietHandler, serving

PROJECT = Path(__file__).resolve().parents[2]
OLD, NEW, ABSENT = "a" * 40, "b" * 40, "c" * 40
LONG_AGO = 1_700_000_000  # one time for all blobs: no cache may tell commits apart by it


def lay_out(home: Path, kind: str, repo: str, commit: str, files: Mapping[str, bytes]) -> Path:
    """A commit in the cache as huggingface_hub leaves it, named by refs/main; returns its snapshot directory."""
    folder = home / "hub" / f"{kind}s--{repo.replace('/', '--')}"
    snapshot = folder / "snapshots" / commit
    for name, content in files.items():
        blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        os.utime(blob, (LONG_AGO, LONG_AGO))
        path = snapshot / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(os.path.relpath(blob, path.parent))
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    return snapshot


def jsonl(*rows: Mapping[str, Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(*rows: Mapping[str, Any]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), file)
    return file.getvalue()


def offline(home: Path, **more: str) -> dict[str, str]:
    """The environment of a process that sees this cache and no network."""
    return {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(PROJECT), **more}


def run(code: str, argument: Any, environment: Mapping[str, str]) -> Any:
    """What a process prints as JSON; `argument`, also JSON, is its standard input."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(argument),
        capture_output=True,
        text=True,
        env=dict(environment),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def sweep(*arguments: str, here: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """The exit status and the output of `python -m sweep` in a directory."""
    places = [f"store={here / 'store'}", f"results={here / 'results'}"]
    done = subprocess.run(
        [sys.executable, "-m", "sweep", *arguments, *places],
        cwd=here,
        capture_output=True,
        text=True,
        env={**environment, "COLUMNS": "200", "WANDB_MODE": "disabled"},
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@dataclass
class FakeHub:
    """Repositories as kind -> repo -> commit -> files, and the commits of their branches and tags."""

    commits: dict[tuple[str, str], dict[str, Mapping[str, bytes]]] = field(default_factory=dict)
    names: dict[tuple[str, str, str], str] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def commit_of(self, kind: str, repo: str, revision: str) -> str | None:
        if revision in self.commits.get((kind, repo), {}):
            return revision
        return self.names.get((kind, repo, revision))


@contextmanager
def served(hub: FakeHub) -> Iterator[FakeHub]:
    """The hub, answering what huggingface_hub asks for a revision, its list of files, and a file."""

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.asked.append(path)
            status, headers, body = _answer(hub, path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

    with serving(Handler) as hub.url:
        yield hub


def online(home: Path, hub: FakeHub) -> dict[str, str]:
    """The environment of a process whose hub is this one."""
    return offline(home, HF_HUB_OFFLINE="0", HF_ENDPOINT=hub.url, HF_HUB_DISABLE_XET="1")


def _answer(hub: FakeHub, path: str) -> tuple[int, dict[str, str], bytes]:
    parts = path.strip("/").split("/")
    if len(parts) < 5:
        return 404, {}, b"{}"
    if parts[0] == "api":
        kind, repo, verb, revision = parts[1].removesuffix("s"), "/".join(parts[2:4]), parts[4], parts[5]
        place = ""
    else:
        kind = "dataset" if parts[0] == "datasets" else "model"
        parts = parts[1:] if kind == "dataset" else parts
        repo, verb, revision, place = "/".join(parts[:2]), parts[2], parts[3], "/".join(parts[4:])
    if repo in hub.gated:
        return 403, {"X-Error-Code": "GatedRepo"}, b"{}"
    if (kind, repo) not in hub.commits:
        return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
    commit = hub.commit_of(kind, repo, revision)
    if commit is None:
        return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
    files = hub.commits[kind, repo].get(commit, {})
    if verb == "revision":
        return 200, {}, json.dumps({"id": repo, "sha": commit, "siblings": []}).encode()
    if verb == "tree":
        rows = [
            {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        ]
        return 200, {}, json.dumps(rows).encode()
    content = files[place]
    return 200, {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}, content
