"""Status files a worker writes next to a stage: progress.json, record.json, failed.json.

record.json     key, request_key, generation, identity, summary, seconds, usd, shards, inputs: digests by address,
                source: {roots, files: digests by file} of the code, finished_at, provenance; once published, files
failed.json     error, message, traceback, failed_at
progress.json   done, total, unit
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sweep.core.identity import Json
from sweep.core.provenance import Provenance
from sweep.core.stage import Finished
from sweep.json_files import StoreError, read_json
from sweep.secrets import redacted
from sweep.store.directory import StageDirectory
from sweep.store.documents import FailureJson, RecordJson, SourceJson, StageJson
from sweep.store.permission import explained

PROGRESS_INTERVAL_S = 0.2


@dataclass
class Clock:
    """Seconds since the last call, so that the times of a batch's stages add up to the total."""

    last: float = field(default_factory=time.monotonic)

    def lap(self) -> float:
        before, self.last = self.last, time.monotonic()
        return self.last - before


@dataclass(frozen=True)
class RunOrigin:
    """Code, inputs and environment of an artifact."""

    code: SourceJson  # roots, and digests of their source by file
    inputs: Mapping[str, str]  # digests of the artifacts that were read, by address
    generation: int
    provenance: Provenance


def record_of(
    stage: StageJson,
    finished: Finished,
    seconds: float,
    shards: Sequence[RecordJson],
    origin: RunOrigin,
) -> RecordJson:
    """Content of record.json. A sharded stage costs the sum of its shards and the merge."""
    usd = seconds * _usd_per_hour(stage["settings"]) / 3600
    return {
        "key": finished.key,
        "request_key": stage.get("request_key"),
        "generation": origin.generation,
        "identity": stage["identity"],
        "summary": dict(finished.summary),
        "seconds": round(seconds + sum(each["seconds"] for each in shards), 3),
        "usd": round(usd + sum(each["usd"] for each in shards), 6),
        "shards": [each["key"] for each in shards],
        "inputs": dict(origin.inputs),
        "source": origin.code,
        "finished_at": now(),
        "provenance": origin.provenance,
    }


def _usd_per_hour(settings: Mapping[str, Json]) -> float:
    price = settings.get("usd_per_hour", 0.0)
    if not isinstance(price, int | float):
        raise StoreError(f"settings.usd_per_hour {price!r}: not a price. Run the sweep again: it rewrites stage.json.")
    return price


def now() -> str:
    """Current UTC time in ISO format, as used in all files."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def failure_of(error: Exception) -> FailureJson:
    """Content of failed.json for the error being handled, with secrets redacted."""
    return {
        "error": redacted(f"{type(error).__name__}: {error}"),
        "message": redacted(explained(error) if isinstance(error, OSError) else str(error)),
        "traceback": redacted(traceback.format_exc()),
        "failed_at": now(),
    }


def reporter(directory: StageDirectory) -> Callable[[int, int, str], None]:
    """Create a function that updates progress.json at a limited rate."""
    last = 0.0

    def report(done: int, total: int, unit: str) -> None:
        nonlocal last
        at = time.monotonic()
        if at - last < PROGRESS_INTERVAL_S and done < total:
            return
        last = at
        temporary = directory.progress_file.with_suffix(".aside")
        temporary.write_text(json.dumps({"done": done, "total": total, "unit": unit}), encoding="utf-8")
        temporary.replace(directory.progress_file)

    return report


def failure_message(failed: Path) -> str:
    """Error message of a failed.json on one line, or that the file cannot be read."""
    try:
        message = read_json(failed).get("message")
    except (StoreError, OSError):
        message = None
    if not isinstance(message, str) or not message.strip():
        return f"the reason cannot be read, {failed.name} is damaged. See the log."
    return failure_line(message)


def failure_line(text: str) -> str:
    """Collapse white space, so that a text is one line."""
    return " ".join(text.split())
