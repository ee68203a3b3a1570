"""A W&B server of tests: openwandb with the shim around it (tests/support/wandb_shim.py), on a free port."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.requirements import need

SHIM = Path(__file__).with_name("wandb_shim.py")
START_SECONDS = 60


@dataclass(frozen=True)
class WandbServer:
    """A running server. `environment` is that of someone who is logged in there."""

    url: str
    folder: Path  # files of runs: files/<entity>/<project>/<run id>/

    @property
    def environment(self) -> dict[str, str]:
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": "local" + "0" * 39, "WANDB_SILENT": "true"}

    def state(self) -> dict[str, Any]:
        """All that it keeps: runs, views, charts, artifacts, and `unknown` operations."""
        return get_json(f"{self.url}/shim/state")

    def refuse(self, *fields: str) -> None:
        """Refuse mutations of these names, as a server of another version would; none: take all again."""
        body = json.dumps(fields).encode()
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/shim/refuse", body), timeout=10).close()


def get_json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


@contextmanager
def wandb_server(folder: Path) -> Iterator[WandbServer]:
    """A server with its files in `folder` while the context is open. Skips the test if none is installed."""
    executable = os.environ.get("S1_WANDB_SERVER")
    need(executable, "S1_WANDB_SERVER is not set: no W&B server", "make test-all, or S1_WANDB_SERVER=.../bin/openwandb")
    assert executable
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(Path(executable).resolve().parent / "python"), str(SHIM), str(port), str(folder)]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    server = WandbServer(f"http://127.0.0.1:{port}", folder)
    try:
        _wait_for(server, process)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=10)


def _wait_for(server: WandbServer, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        try:
            server.state()
        except OSError:
            log = (server.folder / "server.log").read_text(encoding="utf-8", errors="replace")
            assert process.poll() is None, log
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"{server.url}: no answer")
