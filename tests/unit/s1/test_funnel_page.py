"""The folder that tells how examples were chosen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from s1.data.funnel import FunnelStep, filter_rows, write_funnel
from s1.records import SelectedRow, write_rows
from s1.report.funnel import funnel
from s1.stages import FunnelConfig
from tests.support.pools import order, row


def curated(directory: Path, chosen: list[SelectedRow]) -> Path:
    """A curated product: 12 candidates, of which the chosen remain."""
    out = directory / "out"
    out.mkdir(parents=True)
    rows = [row(n, f"Is {n} | {n + 1} even?") for n in range(12)]
    rows, apart = filter_rows(
        "decontaminated", rows, ["shares 8 words with an evaluation", *[None] * 10, "asked before"]
    )
    rows, hard = filter_rows(
        "difficult", rows, ["too easy: solved by a|b" if n % 3 else None for n in range(len(rows))]
    )
    ids = {each.id for each in chosen}
    _, selected = filter_rows("selected", rows, [None if each.id in ids else "not drawn" for each in rows])
    write_funnel(out, [FunnelStep("collected", 12), apart, hard, selected])
    write_rows(out / "selection.jsonl", chosen)
    return out


def written(directory: Path) -> Path:
    first = [SelectedRow("0001", "AIME", "sums", 4_100, True), SelectedRow("0004", "AIME", "graphs", 900, None)]
    second = [*first, SelectedRow("0007", "GPQA", "graphs", 2_000, False)]
    sets = [curated(directory / "a1b2c3", first), curated(directory / "d4e5f6", second)]
    config = FunnelConfig("curate", "python -m sweep +experiment=curate data=two,three -m", ["two", "three rows"])
    assert funnel(order(directory / "page", config, curated=sets)) == {"sets": 2, "examples": 5}
    return directory / "page"


def test_the_texts_are_the_golden_ones(tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    page = written(tmp_path)
    for name in ("README.md", "funnel.csv"):
        golden(f"funnel/{name}", (page / name).read_text(encoding="utf-8"))


def test_each_set_lists_its_ids(tmp_path: Path) -> None:
    page = written(tmp_path)
    assert (page / "ids" / "two.txt").read_text(encoding="utf-8") == "0001\n0004\n"
    assert (page / "ids" / "three_rows.txt").read_text(encoding="utf-8") == "0001\n0004\n0007\n"


def test_one_set_needs_no_heading_and_a_set_without_references_says_so(tmp_path: Path) -> None:
    only = curated(tmp_path / "a1b2c3", [SelectedRow("0001", "AIME", "sums", 4_100, None)])
    funnel(order(tmp_path / "page", FunnelConfig("curate", "command", ["only"]), curated=only))
    text = (tmp_path / "page" / "README.md").read_text(encoding="utf-8")
    assert "## " not in text
    assert "No reference can be graded" in text


def test_the_figure_names_every_step_with_its_numbers_and_is_the_same_again(tmp_path: Path) -> None:
    first, second = (written(tmp_path / name) / "figures" for name in ("first", "second"))
    svg = (first / "funnel.svg").read_text(encoding="utf-8")
    for text in ("two: collected", "three rows: selected", "10  (\u22122)", ">3  (\u22121)"):
        assert text in svg
    for name in ("funnel.svg", "funnel.png"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_two_sets_of_one_name_are_not_written_over_each_other(tmp_path: Path) -> None:
    one = curated(tmp_path / "a1b2c3", [SelectedRow("0001", "AIME", "sums", 1, True)])
    with pytest.raises(FileExistsError):
        funnel(order(tmp_path / "page", FunnelConfig("curate", "command", ["same", "same"]), curated=[one, one]))
