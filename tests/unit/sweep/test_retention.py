"""Decides which stages may be removed, over plain values; the printed inventory."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.cli.store import show_inventory, show_pruned, size
from sweep.console import Console
from sweep.core.pipeline import SharedReport
from sweep.maintenance.prune import Pruned
from sweep.maintenance.retention import (
    Inventory,
    RootedStages,
    StageEntry,
    StageState,
    SupersededArtifact,
    kept_stages,
    removals,
    rooted,
)

EARLIER = {  # of a start model, in the example
    "superseded-1": SupersededArtifact(60_000_000_000, "5f0000000000"),
    "superseded-2": SupersededArtifact(2_000_000, "770000000000"),
    "superseded-3": SupersededArtifact(1_000_000, None),
}


def holding(number: int, state: StageState = StageState.DONE, *inputs: int, batch: str | None = None) -> StageEntry:
    return StageEntry(
        address=f"any/{number:012x}",
        state=state,
        size_bytes=1000,
        inputs=frozenset(f"any/{each:012x}" for each in inputs),
        batch=batch,
        is_locked=state is StageState.RUNNING,
    )


@st.composite
def stores(draw: st.DrawFn) -> Inventory:
    """Any graph, any states, any results."""
    stages = tuple(
        holding(
            number, draw(st.sampled_from(StageState)), *draw(st.sets(st.integers(0, max(0, number - 1)), max_size=3))
        )
        for number in range(draw(st.integers(1, 12)))
    )
    listed = draw(st.sets(st.sampled_from([stage.address for stage in stages])))
    return Inventory(stages, results=(RootedStages("scan", dict.fromkeys(listed, "")),))


@given(stores(), st.booleans())
def test_what_stays_has_all_its_inputs_and_no_result_loses_anything(inventory: Inventory, unfinished: bool) -> None:
    gone = {each.place for each in removals(inventory, unfinished)}
    assert not gone & rooted(inventory)
    for stage in inventory.stages:
        if stage.address not in gone:
            assert not gone & stage.inputs
        else:
            assert not stage.is_locked
            assert stage.state is StageState.DONE or unfinished


@given(stores())
def test_after_pruning_there_is_nothing_to_prune(inventory: Inventory) -> None:
    stay = kept_stages(inventory, unfinished=False)
    left = Inventory(tuple(stage for stage in inventory.stages if stage.address in stay), results=inventory.results)
    assert removals(left) == ()


def example() -> Inventory:
    return Inventory(
        stages=(
            StageEntry(
                "answers/00000000000a", StageState.DONE, 1_234_567, frozenset({"start/00000000000c"}), "b1", "max 16"
            ),
            StageEntry("answers/00000000000b", StageState.RUNNING, 20_000, batch="b1", label="max 32", is_locked=True),
            StageEntry("answers/00000000000d", StageState.DONE, 64_000, batch="b2", label="max 8"),
            StageEntry("scores/00000000000e", StageState.FAILED, 900, label="max 64"),
            StageEntry(
                "start/00000000000c",
                StageState.DONE,
                65_500_000_000,
                leftovers={"out.partial": 5_000_000},
                superseded=EARLIER,
            ),
        ),
        shared={"b1": 400_000, "b2": 9_000},
        beside={"wandb": 3_300_000},
        results=(
            RootedStages("/results/budget_scan/0a", {"answers/00000000000a": "9c1f0a2b3c4d"}, "1a2b3c4d5e6f"),
            RootedStages("/gone/0b", {"start/00000000000c": "5f0000000000"}, "6e5d4c3b2a1f", is_there=False),
        ),
        half_published={"budget_scan/.0b.node7-4711-9f3c1ab2": 70_000},
        aside={"aside/node7-4711-0a0b0c0d": 3_000},
        faults=(),
    )


def said(show: Callable[[Console], None]) -> str:
    console = Console(file=io.StringIO(), width=120, highlight=False)
    show(console)
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]


def test_the_listing_reads_well(golden: Callable[[str, str], None]) -> None:
    lines = ("continuations/9f: 300 streams, 51,234 tokens in 2 files", "  engine: kind transformers, dtype float32")
    reports = {"b1": SharedReport(lines, ()), "b2": SharedReport((), ("continuations/x.jsonl: 2 torn lines",))}
    golden("store/list.txt", said(lambda console: show_inventory(console, example(), reports)))


def test_prune_output_is_readable(golden: Callable[[str, str], None]) -> None:
    waiting = [each for each in removals(example(), unfinished=True) if each.place.startswith("scores")]
    elsewhere = [each for each in example().results if not each.is_there]
    pruned = Pruned(removals(example()), waiting, elsewhere)
    golden("store/prune.txt", said(lambda console: show_pruned(console, pruned, yes=False, unfinished=False)))


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_400, "99.4 kB"), (123_456, "123 kB"), (999_600, "1.0 MB")],
)
def test_sizes_have_two_digits_or_three(size_bytes: int, text: str) -> None:
    assert size(size_bytes) == text
