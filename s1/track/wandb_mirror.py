"""Mirror results to W&B: one run per checkpoint and per point, and a summary run with the curve. The only wandb code.

Records and metrics in the store are the source of truth; a run can be created again from them at any time. Its id is a
hash of the store, the stage's key and its generation: a resumed stage keeps its run, while `redo` or another store gets
a new one. Runs are online if the user is logged in, otherwise offline under the store (upload them later with `wandb
sync store/wandb/offline-run-*`). W&B errors become warnings and never cost a result. `wandb.json` in a stage directory
names its run.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from s1.config.resources import Track
from s1.files.csv_files import Cell
from s1.report.tables import read_table
from sweep.printable import printable
from sweep.store.generations import Made, described, digest_at, same_as

if TYPE_CHECKING:
    import wandb
    from wandb import Run

log = logging.getLogger(__name__)

MARKER = "wandb.json"
METRICS = "metrics.jsonl"
INIT_TIMEOUT_S = 20.0  # wandb's default of 90 s would delay the sweep
FINISH_TIMEOUT_S = 300.0  # by default wandb waits for the upload forever; unsent data stays in its file
RUN_ID_CHARACTERS = 16


@dataclass(frozen=True)
class Tracked:
    """The properties of a stage that W&B shows, groups and filters by."""

    job_type: str
    key: str
    label: str
    config: Mapping[str, Any]


def run_id(store_id: str, key: str, generation: int) -> str:
    """W&B id of a stage's run: 16 hex digits of the sha256 of these three values."""
    return hashlib.sha256(f"{store_id}/{key}/{generation}".encode()).hexdigest()[:RUN_ID_CHARACTERS]


@dataclass
class Mirror:
    """Sends finished stages of one experiment to W&B; stops for this session if W&B is unreachable."""

    track: Track
    group: str  # the experiment
    directory: Path  # where offline runs go
    store_id: Callable[[], str] = str  # id of the store of the stages
    is_reachable: bool = True
    refused: set[str] = field(default_factory=set)  # keys of stages that could not be sent
    made_before: dict[Path, Made] = field(default_factory=dict)  # by the folder of a stage name, cached at first use

    def stage(self, stage: Tracked, path: Path) -> None:
        """Mirror a finished stage directory once: its config, metrics.jsonl and summary."""

        def fill(run: Run) -> None:
            record = _record(path)
            for row in _metrics(path):
                run.log(row)
            run.summary.update({**record["summary"], "seconds": record["seconds"], "usd": record["usd"]})

        self._send(stage, path, fill)

    def summary(self, stage: Tracked, path: Path) -> None:
        """Mirror the report once: curve and samples, if any, as tables and plots, and the HTML page."""

        def fill(run: Run) -> None:
            import wandb

            rows = read_table(_checked(path, "table.csv"))
            page = _checked(path, "report.html").read_text(encoding="utf-8")
            shown = {"curve": _table(rows), **_plots(rows), "report": wandb.Html(page, inject=False)}
            has_samples = "samples.csv" in _files(path)
            run.log({**shown, **_samples(read_table(_checked(path, "samples.csv")))} if has_samples else shown)

        self._send(stage, path, fill)

    def _send(self, stage: Tracked, path: Path, fill: Callable[[Run], None]) -> None:
        """Open, fill and close a run, and write wandb.json; log a warning for any error."""
        if not self.track.wandb or not self.is_reachable or stage.key in self.refused:
            return
        is_reached = True
        try:
            this = run_id(self.store_id(), stage.key, _record(path).get("generation", 0))
            if _mirrored_as(path) == this or self._is_known(path):
                return
            is_reached = False
            run = self._open(stage, this, path)
            is_reached = True
            _fill(run, fill)
            mirrored = {"id": this, "group": self.group, "url": None if run.offline else run.url}
            (path / MARKER).write_text(json.dumps(mirrored) + "\n", encoding="utf-8")
        except (Exception, SystemExit) as error:  # no W&B error may cost a result
            self.is_reachable = is_reached
            self.refused.add(stage.key)
            fault = printable(f"{type(error).__name__}: {error}")
            log.warning("W&B not reached for %s (%s): the result is complete without it.", stage.key, fault)
            log.debug("mirroring %s failed", path, exc_info=True)

    def _is_known(self, path: Path) -> bool:
        """Whether a stage with the same bytes, which differs only in its code, was already mirrored."""
        if path.parent not in self.made_before:
            self.made_before[path.parent] = described(path.parent)
        return any(
            _mirrored_as(same) == run_id(self.store_id(), same.name, _record(same).get("generation", 0))
            for same in same_as(path, self.made_before[path.parent])
        )

    def _open(self, stage: Tracked, this: str, path: Path) -> Run:
        import wandb

        self.directory.mkdir(parents=True, exist_ok=True)
        # Without it, artifacts go to the home directory.
        os.environ.setdefault("WANDB_DATA_DIR", str(self.directory / "data"))
        mode = os.environ.get("WANDB_MODE") or ("online" if _is_logged_in() else "offline")
        return wandb.init(
            project=self.track.project,
            entity=self.track.entity,
            group=self.group,
            job_type=stage.job_type,
            id=this,
            name=stage.label,
            resume="allow",
            mode=cast(Literal["online", "offline"], mode),  # W&B itself refuses other values of WANDB_MODE
            dir=str(self.directory.parent),
            config={**stage.config, "key": stage.key, "digest": digest_at(path)},
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                x_disable_stats=True,
                x_disable_meta=True,
                save_code=False,
                init_timeout=INIT_TIMEOUT_S,
                finish_timeout=FINISH_TIMEOUT_S,
                finish_timeout_raises=True,
            ),
        )


def _fill(run: Run, fill: Callable[[Run], None]) -> None:
    """Fill and close a run. Not by its context manager, which would print the traceback of an error."""
    try:
        fill(run)
    except (Exception, SystemExit):
        run.finish(exit_code=1)
        raise
    run.finish()


def _is_logged_in() -> bool:
    """Whether credentials exist. Checks without a prompt and without the network."""
    import wandb

    return wandb.login(prompt=False, verify=False)


def _table(rows: Sequence[Mapping[str, Cell]]) -> wandb.Table:
    import wandb

    columns: list[str | int] = list(rows[0])
    data: list[Iterable[Cell]] = [[row[str(column)] for column in columns] for row in rows]
    return wandb.Table(columns=columns, data=data)


def _samples(rows: Sequence[Mapping[str, Cell]]) -> dict[str, Any]:
    """Table of accuracy over k samples, and a W&B plot of the majority vote with one line per point."""
    import wandb

    data: list[Iterable[Cell]] = [[row["k"], row["maj"], f"{row['label']} {row['key']}"] for row in rows]
    table = wandb.Table(columns=["k", "maj@k", "point"], data=data)
    plot = wandb.plot.line(table, "k", "maj@k", stroke="point", title="majority of k samples")
    return {"samples": _table(rows), "majority": plot}


def _plots(rows: Sequence[Mapping[str, Cell]]) -> dict[str, Any]:
    """W&B plot of accuracy over thinking tokens."""
    import wandb

    known = [row for row in rows if row["accuracy"] is not None and row["thinking_tokens"] is not None]
    data: list[Iterable[Cell]] = [[row["thinking_tokens"], row["accuracy"], row["label"]] for row in known]
    table = wandb.Table(columns=["thinking tokens", "accuracy", "point"], data=data)
    return {"scaling": wandb.plot.line(table, "thinking tokens", "accuracy", title="accuracy over thinking tokens")}


def _record(path: Path) -> dict[str, Any]:
    return json.loads((path / "record.json").read_text(encoding="utf-8"))


def _files(path: Path) -> Mapping[str, Any]:
    """Files of the artifact according to its record."""
    return _record(path).get("files", {})


def _checked(path: Path, name: str) -> Path:
    """Path of a file of the artifact. Raises ValueError unless its bytes match the record."""
    record = _record(path)
    file = path / record.get("out", "out") / name
    if hashlib.sha256(file.read_bytes()).hexdigest() != record["files"][name]["sha256"]:
        raise ValueError(f"{file}: changed since it was published")
    return file


def _mirrored_as(path: Path) -> str | None:
    """Id of the run that a stage directory was mirrored as; a copied store has the ids of the original."""
    marker = path / MARKER
    return json.loads(marker.read_text(encoding="utf-8"))["id"] if marker.exists() else None


def _metrics(path: Path) -> list[dict[str, Any]]:
    if METRICS not in _files(path):
        return []
    return [json.loads(line) for line in _checked(path, METRICS).read_text(encoding="utf-8").splitlines()]
