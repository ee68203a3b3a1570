"""A result of a model for which the rates in `cost` do not hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from s1.report.tables import read_table
from tests.support.pages import text_of
from tests.support.scans import point, rows, run, series_of


def test_a_model_for_which_the_rates_do_not_hold_has_no_price(tmp_path: Path):
    asked = [(8, 0, 2), (16, 0, 8), (None, 1, 20)]
    points = [replace(point(limit, waits), has_rates=False) for limit, waits, _ in asked]
    out = run(tmp_path, points, [rows(right, 24, 14 * (1 + waits), limit, waits) for limit, waits, right in asked])
    for row in read_table(out / "table.csv"):
        assert (row["device_seconds"], row["usd"], row["usd_per_point"]) == (None, None, None)
    (series,) = series_of(out)
    assert {series.usd_per_point(row) for row in series.to_reference} == {None}
    page = text_of((out / "report.html").read_text(encoding="utf-8"))
    assert "unknown where the rates do not hold for the model" in page
