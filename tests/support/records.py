"""Records as left by a fault, an earlier version or an interrupted run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from sweep.json_files import sealed, write_json
from sweep.store.directory import StageDirectory
from sweep.store.documents import RecordJson


def record_with(**fields: Any) -> RecordJson:
    """A record of these fields alone."""
    return cast(RecordJson, fields)


def rewrite(directory: StageDirectory, record: Mapping[str, Any]) -> None:
    """As if the stage had been published with that record."""
    write_json(directory.record_file, sealed({name: value for name, value in record.items() if name != "checksum"}))


def unfinish(directory: StageDirectory) -> None:
    """As if the attempt had not come to its end: no record, and no second copy of one."""
    for path in [*directory.path.glob("record-*.json"), directory.record_file, directory.path / "out"]:
        path.unlink()
