"""The training page: what `goal=checkpoint` leaves for people, from the files of checkpoints and of their texts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from s1.report.tables import as_written
from s1.report.training import smoothed, training_report
from s1.stages import TrainingReportConfig
from sweep.core.stage import Work

AUDIT = "what,count,of,verdict\nlonger than block_size 64,0,30,ok\nno answer,1,31,dropped\n"


def made(place: Path, key: str, losses: list[float]) -> tuple[Path, Path]:
    """The product directories of a checkpoint and of its rendered text."""
    checkpoint, rendered = (place / name / key / "out" for name in ("checkpoint", "rendered"))
    (rendered / "figures").mkdir(parents=True)
    checkpoint.mkdir(parents=True)
    rows = [
        {"step": step, "loss": loss, "learning_rate": 1e-5, "grad_norm": 1.0, "tokens": 100 * step}
        for step, loss in enumerate(losses, start=1)
    ]
    (checkpoint / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (rendered / "audit.csv").write_text(AUDIT, encoding="utf-8")
    (rendered / "figures" / "lengths.png").write_bytes(b"png")
    return checkpoint, rendered


def page(place: Path) -> Path:
    pairs = [made(place, "aaaaaaaaaaaa", [2.0, 1.0, 0.5]), made(place, "bbbbbbbbbbbb", [2.0, 1.5, 1.25])]
    out = place / "page"
    out.mkdir()
    inputs = {"checkpoint": tuple(pair[0] for pair in pairs), "rendered": tuple(pair[1] for pair in pairs)}
    config = TrainingReportConfig("two", "python -m sweep goal=checkpoint data=a,b -m", ["small on a", "small on b"])
    training_report(Work("key", config, inputs, out, out, out, {}, lambda *_progress: None))
    return out


def test_the_page_reads_as_it_always_did(tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    out = page(tmp_path)
    golden("training/README.md", (out / "README.md").read_text(encoding="utf-8"))
    assert sorted(path.name for path in out.iterdir()) == [
        *("README.md", "audit-0.csv", "audit-1.csv", "figures", "training.csv"),
    ]


def test_the_table_has_a_row_a_checkpoint_and_says_where_it_lies(tmp_path: Path) -> None:
    first, second = as_written(page(tmp_path) / "training.csv")
    assert (first["steps"], first["tokens"], first["final loss"]) == ("3", "300", "0.5")
    assert second["where"] == "checkpoint/bbbbbbbbbbbb/out"


def test_a_smoothed_loss_starts_as_it_is_and_follows_the_mean_of_a_window() -> None:
    values = [1.0] * 50 + [0.0] * 50
    drawn = smoothed(values)
    assert drawn[0] == 1.0 and drawn[-1] == 0.0 and drawn[50] == 0.5
    assert len(drawn) == 100
