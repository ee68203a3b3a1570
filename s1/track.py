"""The mirror on W&B: one run per checkpoint and per point, and one summary run with the curve. The only wandb code.

Records and metrics in the store are the truth; a run here has the stage's key as its id and can be made again at any
time. Online if the user is logged in, otherwise offline under the store (`wandb sync store/wandb/offline-run-*` later).
Failing to reach W&B costs a warning, never a result. `wandb.json` in a stage directory says that it was mirrored.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s1.config import Track
from s1.report.table import read_table

if TYPE_CHECKING:
    from wandb import Run

log = logging.getLogger(__name__)

MARKER = "wandb.json"
INIT_TIMEOUT_S = 20.0  # wandb's own 90 s would hold up the sweep


@dataclass
class Mirror:
    """Sends finished stages of one experiment to W&B; gives up for this session when it cannot be reached."""

    track: Track
    group: str  # the experiment
    directory: Path  # where offline runs go
    is_reachable: bool = True

    def stage(self, name: str, key: str, path: Path) -> None:
        """Mirror a finished stage directory once: its config, its metrics.jsonl, its summary."""
        if not self._wants(path):
            return
        record = json.loads((path / "record.json").read_text(encoding="utf-8"))
        run = self._open(name, key, record["identity"])
        if run is None:
            return
        for row in _metrics(path / "out" / "metrics.jsonl"):
            run.log(row)
        run.summary.update({**record["summary"], "seconds": record["seconds"], "usd": record["usd"]})
        self._close(run, path)

    def summary(self, key: str, path: Path) -> None:
        """Mirror the report: the curve as a table and as plots, the page as it is."""
        if not self._wants(path):
            return
        run = self._open("report", key, {"experiment": self.group})
        if run is None:
            return
        import wandb

        rows = read_table(path / "out" / "table.csv")
        columns = list(rows[0])
        table = wandb.Table(columns=columns, data=[[row[column] for column in columns] for row in rows])
        run.log({"curve": table, **_plots(rows)})
        run.log({"report": wandb.Html((path / "out" / "report.html").read_text(encoding="utf-8"), inject=False)})
        self._close(run, path)

    def _wants(self, path: Path) -> bool:
        return self.track.wandb and self.is_reachable and not (path / MARKER).exists()

    def _open(self, job_type: str, key: str, config: Mapping[str, Any]) -> Run | None:
        import wandb

        self.directory.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault(
            "WANDB_DATA_DIR", str(self.directory / "data")
        )  # or offline artifacts go to the home directory
        try:
            return wandb.init(
                project=self.track.project,
                entity=self.track.entity,
                group=self.group,
                job_type=job_type,
                id=key,
                name=f"{job_type} {key}",
                resume="allow",
                mode=os.environ.get("WANDB_MODE") or ("online" if _is_logged_in() else "offline"),
                dir=str(self.directory.parent),
                config=dict(config),
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
        except (wandb.errors.Error, OSError) as error:
            self.is_reachable = False
            log.warning("W&B not reached for %s %s (%s): the result is complete without it.", job_type, key, error)
            return None

    def _close(self, run: Run, path: Path) -> None:
        run.finish()
        (path / MARKER).write_text(
            json.dumps({"id": run.id, "group": self.group, "url": None if run.offline else run.url}) + "\n",
            encoding="utf-8",
        )


def _is_logged_in() -> bool:
    """Credentials are there; asked without prompting and without the network."""
    import wandb

    return wandb.login(prompt=False, verify=False)


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
