"""The mirror on W&B: one run per checkpoint and per point, and one summary run with the curve. The only wandb code.

Records and metrics in the store are the truth; a run here can be made again at any time. Its id is a hash of the
store, the stage's key and its generation: resumed or run again it stays one run, made anew (`redo`) or in another store
it is another. Online if the user is logged in, otherwise offline under the store (`wandb sync
store/wandb/offline-run-*` later). Whatever W&B raises costs a warning, never a result. `wandb.json` in a stage
directory says as which run it was mirrored.
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
INIT_TIMEOUT_S = 20.0  # wandb's own 90 s would hold up the sweep
FINISH_TIMEOUT_S = 300.0  # wandb would wait for its upload for ever; what is not sent stays in its file
RUN_ID_CHARACTERS = 16


@dataclass(frozen=True)
class Tracked:
    """A stage as a run: what W&B shows, groups and filters by."""

    job_type: str
    key: str
    label: str
    config: Mapping[str, Any]


def run_id(store_id: str, key: str, generation: int) -> str:
    """The W&B id of a stage's run: 16 hex digits of the sha256 of the three."""
    return hashlib.sha256(f"{store_id}/{key}/{generation}".encode()).hexdigest()[:RUN_ID_CHARACTERS]


@dataclass
class Mirror:
    """Sends finished stages of one experiment to W&B; gives up for this session when it cannot be reached."""

    track: Track
    group: str  # the experiment
    directory: Path  # where offline runs go
    store_id: Callable[[], str] = str  # of the store that the stages are in
    is_reachable: bool = True
    refused: set[str] = field(default_factory=set)  # keys of stages that could not be sent
    made_before: dict[Path, Made] = field(default_factory=dict)  # by the folder of a name, as it was when first asked

    def stage(self, stage: Tracked, path: Path) -> None:
        """Mirror a finished stage directory once: what it is, its metrics.jsonl, its summary."""

        def fill(run: Run) -> None:
            record = _record(path)
            for row in _metrics(path):
                run.log(row)
            run.summary.update({**record["summary"], "seconds": record["seconds"], "usd": record["usd"]})

        self._send(stage, path, fill)

    def summary(self, stage: Tracked, path: Path) -> None:
        """Mirror the report once: the curve, and samples if any, as tables and as plots; the page as it is."""

        def fill(run: Run) -> None:
            import wandb

            rows = read_table(_checked(path, "table.csv"))
            page = _checked(path, "report.html").read_text(encoding="utf-8")
            shown = {"curve": _table(rows), **_plots(rows), "report": wandb.Html(page, inject=False)}
            has_samples = "samples.csv" in _files(path)
            run.log({**shown, **_samples(read_table(_checked(path, "samples.csv")))} if has_samples else shown)

        self._send(stage, path, fill)

    def _send(self, stage: Tracked, path: Path, fill: Callable[[Run], None]) -> None:
        """Open a run, fill it, close it, mark the directory; or warn, whatever is raised on the way."""
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
        except (Exception, SystemExit) as error:  # a mirror must not cost a result, whatever is wrong with W&B
            self.is_reachable = is_reached
            self.refused.add(stage.key)
            fault = printable(f"{type(error).__name__}: {error}")
            log.warning("W&B not reached for %s (%s): the result is complete without it.", stage.key, fault)
            log.debug("mirroring %s failed", path, exc_info=True)

    def _is_known(self, path: Path) -> bool:
        """A stage that differs from this one in code alone was mirrored, with the same bytes."""
        if path.parent not in self.made_before:
            self.made_before[path.parent] = described(path.parent)
        return any(
            _mirrored_as(same) == run_id(self.store_id(), same.name, _record(same).get("generation", 0))
            for same in same_as(path, self.made_before[path.parent])
        )

    def _open(self, stage: Tracked, this: str, path: Path) -> Run:
        import wandb

        self.directory.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("WANDB_DATA_DIR", str(self.directory / "data"))  # or artifacts go to the home directory
        mode = os.environ.get("WANDB_MODE") or ("online" if _is_logged_in() else "offline")
        return wandb.init(
            project=self.track.project,
            entity=self.track.entity,
            group=self.group,
            job_type=stage.job_type,
            id=this,
            name=stage.label,
            resume="allow",
            mode=cast(Literal["online", "offline"], mode),  # what else WANDB_MODE may say, W&B judges
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
    """Fill a run and close it; as a context manager it would print the traceback of an error."""
    try:
        fill(run)
    except (Exception, SystemExit):
        run.finish(exit_code=1)
        raise
    run.finish()


def _is_logged_in() -> bool:
    """Credentials are there; asked without prompting and without the network."""
    import wandb

    return wandb.login(prompt=False, verify=False)


def _table(rows: Sequence[Mapping[str, Cell]]) -> wandb.Table:
    import wandb

    columns: list[str | int] = list(rows[0])
    data: list[Iterable[Cell]] = [[row[str(column)] for column in columns] for row in rows]
    return wandb.Table(columns=columns, data=data)


def _samples(rows: Sequence[Mapping[str, Cell]]) -> dict[str, Any]:
    """What k samples are worth, all of it and as W&B draws it: one line per point."""
    import wandb

    data: list[Iterable[Cell]] = [[row["k"], row["maj"], f"{row['label']} {row['key']}"] for row in rows]
    table = wandb.Table(columns=["k", "maj@k", "point"], data=data)
    plot = wandb.plot.line(table, "k", "maj@k", stroke="point", title="majority of k samples")
    return {"samples": _table(rows), "majority": plot}


def _plots(rows: Sequence[Mapping[str, Cell]]) -> dict[str, Any]:
    """Accuracy over thinking tokens, as W&B draws it."""
    import wandb

    known = [row for row in rows if row["accuracy"] is not None and row["thinking_tokens"] is not None]
    data: list[Iterable[Cell]] = [[row["thinking_tokens"], row["accuracy"], row["label"]] for row in known]
    table = wandb.Table(columns=["thinking tokens", "accuracy", "point"], data=data)
    return {"scaling": wandb.plot.line(table, "thinking tokens", "accuracy", title="accuracy over thinking tokens")}


def _record(path: Path) -> dict[str, Any]:
    return json.loads((path / "record.json").read_text(encoding="utf-8"))


def _files(path: Path) -> Mapping[str, Any]:
    """Of the product, by its record."""
    return _record(path).get("files", {})


def _checked(path: Path, name: str) -> Path:
    """A file of the product, once its bytes are those of its record. Raises ValueError if they are not."""
    record = _record(path)
    file = path / record.get("out", "out") / name
    if hashlib.sha256(file.read_bytes()).hexdigest() != record["files"][name]["sha256"]:
        raise ValueError(f"{file}: other bytes than were published")
    return file


def _mirrored_as(path: Path) -> str | None:
    """The run that a stage directory was mirrored as; in a copied store that is a run of another."""
    marker = path / MARKER
    return json.loads(marker.read_text(encoding="utf-8"))["id"] if marker.exists() else None


def _metrics(path: Path) -> list[dict[str, Any]]:
    if METRICS not in _files(path):
        return []
    return [json.loads(line) for line in _checked(path, METRICS).read_text(encoding="utf-8").splitlines()]
