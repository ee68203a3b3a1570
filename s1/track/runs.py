"""Open W&B runs: their ids, job types, settings and mode. With wandb_mirror.py the only code that calls wandb.

A run is named by the store, key and generation of its stage, so a requeued or resumed stage keeps its run, while `redo`
or another store gets a new one. Runs are online if the user is logged in, otherwise offline under the store (upload
them later with `wandb sync store/wandb/offline-run-*`). The marker file `wandb.json` in a stage directory names its run
and what was sent to it.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast
from urllib.parse import urlsplit

from s1.config.resources import Track

if TYPE_CHECKING:
    from wandb import Run as Run  # what the other files of this folder call a run

MARKER = "wandb.json"
ONLINE, DISABLED = "online", "disabled"  # values of WANDB_MODE
ANSWER_TIMEOUT_S = 10.0
INIT_TIMEOUT_S = 20.0  # wandb's default of 90 s would delay the sweep
FINISH_TIMEOUT_S = 300.0  # by default wandb waits for the upload forever; unsent data stays in its file
RUN_ID_CHARACTERS = 16
TAG_CHARACTERS = 64  # W&B refuses longer tags


class JobType(Enum):
    """What a run shows."""

    CHECKPOINT = "checkpoint"  # the training of one model
    POINT = "point"  # the scores of one point of a scan, one run for each seed
    SUMMARY = "summary"  # the curve over all points


@dataclass(frozen=True)
class RunIdentity:
    """What a run is before anything is logged to it."""

    id: str  # `run_id` of its stage
    job_type: JobType
    name: str
    group: str  # name of the result
    tags: tuple[str, ...] = ()
    notes: str = ""
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])  # JSON values; nested tables for dotted names


@dataclass(frozen=True)
class Marker:
    """The content of `wandb.json`: the run of a stage, and what was sent to it."""

    id: str
    group: str  # the W&B group: name of the first result that sent it
    url: str | None  # None: an offline run
    sent: Mapping[str, str] = field(default_factory=dict[str, str])  # by result: digests of all that was sent
    rows: int = 0  # history rows that were sent; later ones are appended
    place: str | None = None  # where they were sent (`place_of`); None: written by an earlier version
    server: str | None = None  # its address; None: offline, or written by an earlier version

    def is_of(self, id_: str, place: str, server: Callable[[], str]) -> bool:
        """Whether it is that of a run at a place. `server`: asked for only if it matters, because it loads wandb."""
        return self.id == id_ and self.place in (None, place) and (self.server is None or self.server == server())


def place_of(track: Track) -> str:
    """Entity and project that runs go to: `my-team/s1-sweep`; without an entity `/s1-sweep`."""
    return f"{track.entity or ''}/{track.project}"


def server_of() -> str:
    """Address of the server that runs go to: W&B's own, or that of WANDB_BASE_URL or `wandb login --host`."""
    import wandb

    return wandb.setup().settings.base_url


def run_id(store_id: str, key: str, generation: int) -> str:
    """W&B id of a stage's run: 16 hex digits of the sha256 of these three values."""
    return hashlib.sha256(f"{store_id}/{key}/{generation}".encode()).hexdigest()[:RUN_ID_CHARACTERS]


def read_marker(stage: Path, name: str = MARKER) -> Marker | None:
    """The run that a stage directory was mirrored as, if any; a copied store has the ids of the original.

    A damaged marker, or one of a later version, is none: the run is sent again, under the same id.
    """
    try:
        return Marker(**json.loads((stage / name).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def write_marker(stage: Path, marker: Marker, name: str = MARKER) -> None:
    """Replace the marker file of a stage directory."""
    temporary = stage / f".{name}.{os.getpid()}"
    temporary.write_text(json.dumps(asdict(marker)) + "\n", encoding="utf-8")
    temporary.replace(stage / name)


def open_run(track: Track, identity: RunIdentity, directory: Path, settings: Mapping[str, Any] | None = None) -> Run:
    """Open a run, or continue the one with this id. `directory`: the folder of offline runs, `store/wandb`.

    `settings` are further fields of wandb.Settings, such as those of system metrics. Raises whatever wandb raises.
    """
    os.environ.setdefault("WANDB_SILENT", "true")  # wandb reads it at import, and else remarks on every artifact
    if "wandb" not in sys.modules:
        os.environ.pop("WANDB_SERVICE", None)  # inherited from a process that uses wandb: its end would end our runs
    import wandb

    known = wandb.setup().settings
    if run_mode() == ONLINE and not (known.http_proxy or known.https_proxy):  # a proxy that only wandb uses
        require_answer(known.base_url)
    directory.mkdir(parents=True, exist_ok=True)
    # Without it, artifacts go to the home directory.
    os.environ.setdefault("WANDB_DATA_DIR", str(directory / "data"))
    return wandb.init(
        project=track.project,
        entity=track.entity,
        group=identity.group,
        job_type=identity.job_type.value,
        id=identity.id,
        name=identity.name,
        tags=[tag[:TAG_CHARACTERS] for tag in dict.fromkeys(identity.tags) if tag],
        notes=identity.notes or None,
        resume="allow",
        mode=cast(Literal["online", "offline"], run_mode()),  # W&B itself refuses other values of WANDB_MODE
        dir=str(directory.parent),
        config=dict(identity.config),
        settings=wandb.Settings(**{**_settings(), **(settings or {})}),
    )


def require_answer(server: str) -> None:
    """Raises ConnectionError if a server does not answer.

    Asked before a run is opened, because a run whose opening failed cannot be opened again by the same process: wandb
    keeps its id "in use".
    """
    query = json.dumps({"query": "query Viewer { viewer { id } }"}).encode()
    request = urllib.request.Request(f"{server.rstrip('/')}/graphql", query, {"Content-Type": "application/json"})
    try:
        _opener(server).open(request, timeout=ANSWER_TIMEOUT_S).close()
    except urllib.error.HTTPError as error:
        if error.code >= 500:
            raise ConnectionError(f"{server} answers with status {error.code}") from error
    except (OSError, http.client.HTTPException) as error:
        if isinstance(getattr(error, "reason", None), ssl.SSLError):  # wandb may know more certificates
            return
        raise ConnectionError(f"{server} does not answer: {getattr(error, 'reason', None) or error}") from error


def _opener(server: str) -> urllib.request.OpenerDirector:
    """As wandb, uses the proxy of the environment, but none to reach this machine."""
    is_here = urlsplit(server).hostname in ("localhost", "127.0.0.1", "::1")
    return urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if is_here else []))


def run_mode() -> str:
    """WANDB_MODE if it is set; otherwise "online" for a user who is logged in, and "offline" for others."""
    return os.environ.get("WANDB_MODE") or (ONLINE if is_logged_in() else "offline")


def places_on_server(run: str, axis: str) -> Iterator[object]:
    """All places on an axis in the history of a run, ENTITY/PROJECT/ID, as the server has it."""
    import wandb

    for row in wandb.Api().run(run).scan_history(keys=[axis]):
        yield row.get(axis)


class Arrived(Protocol):
    """What a resumed wandb Run knows of the server."""

    @property
    def path(self) -> str: ...
    @property
    def offline(self) -> bool: ...
    @property
    def resumed(self) -> bool: ...
    @property
    def starting_step(self) -> int: ...
    @property
    def summary(self) -> Any: ...


def last_there(
    run: Arrived, axis: str, sent: float | None, history: Callable[[str, str], Iterable[object]] = places_on_server
) -> float | None:
    """The last place on an axis that arrived at W&B; `sent`: the last one that was sent, None: nothing.

    They differ if a process was killed before its upload. Then its summary may be older than its history on the
    server, and `history` reads all places on an axis from there. Of an offline run, all that was sent counts.
    """
    if run.offline:
        return sent
    if not run.resumed:
        return None
    is_current = run.summary.get("_step") == run.starting_step - 1
    places = [run.summary.get(axis)] if is_current else history(run.path, axis)
    return max((each for each in places if isinstance(each, int | float)), default=None)


def has_arrived(run: Arrived, key: str) -> bool:
    """Whether a continued run has a summary key on the server; a process that was killed left no marker of it."""
    return run.resumed and run.summary.get(key) is not None


def run_url(run: Run) -> str | None:
    """Address of a run; None if it is offline."""
    return None if run.offline else run.url


def _settings() -> dict[str, Any]:
    return {
        "reinit": "create_new",  # several runs are open in one process; by default wandb would return the first one
        "silent": True,
        "console": "off",
        "disable_git": True,
        "x_disable_stats": True,
        "x_disable_meta": True,
        "save_code": False,
        "init_timeout": INIT_TIMEOUT_S,
        "finish_timeout": FINISH_TIMEOUT_S,
        "finish_timeout_raises": True,
    }


def is_logged_in() -> bool:
    """Whether credentials exist. Checks without a prompt and without the network."""
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    return wandb.login(prompt=False, verify=False)
