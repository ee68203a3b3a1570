"""The mirror on W&B: one run per checkpoint and per point, and one summary run with the curve. The only wandb code.

Records and metrics in the store are the truth; a run here has the stage's key as its id and can be made again at any
time. Online if the user is logged in, otherwise offline under the store (`wandb sync store/wandb/offline-run-*` later).
Failing to reach W&B costs a warning, never a result. `wandb.json` in a stage directory says that it was mirrored.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s1.report.table import read_table
from s1.resources import Track

if TYPE_CHECKING:
    import wandb
    from wandb import Run

log = logging.getLogger(__name__)

MARKER = "wandb.json"
INIT_TIMEOUT_S = 20.0  # wandb's own 90 s would hold up the sweep


@dataclass(frozen=True)
class Tracked:
    """A stage as a run: what W&B shows, groups and filters by."""

    job_type: str
    key: str
    label: str
    config: Mapping[str, Any]


@dataclass
class Mirror:
    """Sends finished stages of one experiment to W&B; gives up for this session when it cannot be reached."""

    track: Track
    group: str  # the experiment
    directory: Path  # where offline runs go
    is_reachable: bool = True

    def stage(self, stage: Tracked, path: Path) -> None:
        """Mirror a finished stage directory once: what it is, its metrics.jsonl, its summary."""

        def fill(run: Run) -> None:
            record = json.loads((path / "record.json").read_text(encoding="utf-8"))
            for row in _metrics(path / "out" / "metrics.jsonl"):
                run.log(row)
            run.summary.update({**record["summary"], "seconds": record["seconds"], "usd": record["usd"]})

        self._send(stage, path, fill)

    def summary(self, stage: Tracked, path: Path) -> None:
        """Mirror the report once: the curve, and samples if any, as tables and as plots; the page as it is."""

        def fill(run: Run) -> None:
            import wandb

            rows = read_table(path / "out" / "table.csv")
            page = (path / "out" / "report.html").read_text(encoding="utf-8")
            shown = {"curve": _table(rows), **_plots(rows), "report": wandb.Html(page, inject=False)}
            samples = path / "out" / "samples.csv"
            run.log({**shown, **_samples(read_table(samples))} if samples.exists() else shown)

        self._send(stage, path, fill)

    def _send(self, stage: Tracked, path: Path, fill: Callable[[Run], None]) -> None:
        """Open a run, fill it, close it, mark the directory; or warn, whatever of it W&B refuses."""
        if not self.track.wandb or not self.is_reachable or (path / MARKER).exists():
            return
        import wandb

        try:
            with self._open(stage) as run:
                fill(run)
        except (wandb.errors.Error, OSError) as error:
            self.is_reachable = False
            log.warning("W&B not reached for %s (%s): the result is complete without it.", stage.key, error)
            return
        mirrored = {"id": stage.key, "group": self.group, "url": None if run.offline else run.url}
        (path / MARKER).write_text(json.dumps(mirrored) + "\n", encoding="utf-8")

    def _open(self, stage: Tracked) -> Run:
        import wandb

        self.directory.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("WANDB_DATA_DIR", str(self.directory / "data"))  # or artifacts go to the home directory
        return wandb.init(
            project=self.track.project,
            entity=self.track.entity,
            group=self.group,
            job_type=stage.job_type,
            id=stage.key,
            name=stage.label,
            resume="allow",
            mode=os.environ.get("WANDB_MODE") or ("online" if _is_logged_in() else "offline"),
            dir=str(self.directory.parent),
            config=dict(stage.config),
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                x_disable_stats=True,
                x_disable_meta=True,
                save_code=False,
                init_timeout=INIT_TIMEOUT_S,
            ),
        )


def _is_logged_in() -> bool:
    """Credentials are there; asked without prompting and without the network."""
    import wandb

    return wandb.login(prompt=False, verify=False)


def _table(rows: list[dict[str, float | str | None]]) -> wandb.Table:
    import wandb

    columns = list(rows[0])
    return wandb.Table(columns=columns, data=[[row[column] for column in columns] for row in rows])


def _samples(rows: list[dict[str, float | str | None]]) -> dict[str, Any]:
    """What k samples are worth, all of it and as W&B draws it: one line per point."""
    import wandb

    data = [[row["k"], row["maj"], f"{row['label']} {row['key']}"] for row in rows]
    table = wandb.Table(columns=["k", "maj@k", "point"], data=data)
    plot = wandb.plot.line(table, "k", "maj@k", stroke="point", title="majority of k samples")
    return {"samples": _table(rows), "majority": plot}


def _plots(rows: list[dict[str, float | str | None]]) -> dict[str, Any]:
    """Accuracy over thinking tokens, as W&B draws it."""
    import wandb

    known = [row for row in rows if row["accuracy"] is not None and row["thinking_tokens"] is not None]
    data = [[row["thinking_tokens"], row["accuracy"], row["label"]] for row in known]
    table = wandb.Table(columns=["thinking tokens", "accuracy", "point"], data=data)
    return {"scaling": wandb.plot.line(table, "thinking tokens", "accuracy", title="accuracy over thinking tokens")}


def _metrics(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
