"""Names without a commit: planned as unpinned, refused at run time, resolved by `pin` into pins.lock."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from s1 import pipeline
from s1.config.schema import ConfigError
from s1.hub.pins import HubName, Pin, RepoKind, add_pin, read_pins, write_pins
from sweep.cli.manual import planned_again
from sweep.config.compose import compose
from sweep.core.pipeline import Graph
from sweep.errors import InputError
from sweep.plan.graph import plan
from sweep.slurm.submission import submissions
from tests.support.hubs import ABSENT, NEW, OLD, FakeHub, jsonl, lay_out, offline, online, parquet, served, sweep

POOL = "simplescaling/data_ablation_full59K"
LIMO = ["+experiment=curate", "data=limo"]
RESOLVED = "2026-07-04T10:15:30+00:00"


def graph_of(*overrides: str) -> Graph:
    composition = compose(overrides)
    return pipeline.graph(composition.points, composition.request)


def lines_of(graph: Graph) -> list[str]:
    return list(graph.unpinned(plan([graph.artifact], lambda stage: False).needed))


def pins_of(*rows: tuple[RepoKind, str, str, str]) -> dict[HubName, Pin]:
    return {HubName(kind, repo, name): Pin(commit, RESOLVED) for kind, repo, name, commit in rows}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["model=s1_32b", "data=none"], "model.revision null: simplescaling/s1-32B is unpinned."),
        (["+experiment=curate", "data=s1k"], f"data.pool.hub.revision null: {POOL} is unpinned."),
        (["+experiment=curate", "data=s1k_1_1"], "data.pool.hub.revision null: simplescaling/s1K-1.1 is unpinned."),
        (LIMO, "data.pool.hub.revision null: GAIR/LIMO is unpinned."),
        (["+experiment=curate", "data=sky_t1_17k"], "data.pool.hub.revision null: NovaSky-AI/Sky-T1_data_17k is un"),
        (
            ["model=qwen3_8b", "data=none", "task=aime24", "task.hub.revision=v1.0"],
            "task.hub.revision 'v1.0': Maxwell-Jia/AIME_2024 is",
        ),
        (
            ["+experiment=curate", "data=dial_s1k", "model@data.difficulty.solvers.laptop_base=s1_32b"],
            "data.difficulty.solvers.laptop_base.revision null: simplescaling/s1-32B is unpinned.",
        ),
    ],
)
def test_what_is_named_without_a_commit_can_be_planned_and_is_shown(here, overrides: list[str], line: str) -> None:
    (shown,) = lines_of(graph_of(*overrides))
    assert shown.startswith(line)
    assert shown.endswith(f"Run `python -m sweep pin {' '.join(overrides)}` on a machine with network access.")


def test_unused_names_need_no_pin(here: Path) -> None:
    assert lines_of(graph_of("+experiment=curate", "task=aime24", "task.hub.revision=main")) == []


@pytest.mark.parametrize("value", ["'a b'", "''", "'../x y'"])
def test_a_revision_that_is_no_name_is_refused_at_once(here: Path, value: str) -> None:
    with pytest.raises(InputError, match=r"model\.revision .*: (not a commit, branch or tag|empty)\."):
        compose(["model=s1_32b", "data=none", f"model.revision={value}"])


def test_keys_are_those_of_the_commit_wherever_it_is_written(here: Path) -> None:
    names = ["model=s1_32b", "data=none", "task=aime24", "task.hub.revision=v1.0"]
    commits = ["model=s1_32b", "data=none", "task=aime24", f"task.hub.revision={OLD}", f"model.revision={NEW}"]
    unpinned = {stage.address for stage in plan([graph_of(*names).artifact], lambda _: False).needed}
    write_pins(
        here / "pins.lock",
        pins_of(
            (RepoKind.MODEL, "simplescaling/s1-32B", "main", NEW),
            (RepoKind.DATASET, "Maxwell-Jia/AIME_2024", "v1.0", OLD),
        ),
    )
    pinned, written = (
        {stage.address for stage in plan([graph_of(*each).artifact], lambda _: False).needed if stage.name != "report"}
        for each in (names, commits)  # the report quotes its command
    )
    assert pinned == written
    assert not pinned & unpinned
    assert lines_of(graph_of(*names)) == []


def test_a_name_is_of_its_kind_its_repository_and_its_revision(here: Path) -> None:
    others = (
        (RepoKind.MODEL, "GAIR/LIMO", "main", OLD),
        (RepoKind.DATASET, "GAIR/limo", "main", OLD),
        (RepoKind.DATASET, "GAIR/LIMO", "v1", OLD),
    )
    write_pins(here / "pins.lock", pins_of(*others))
    assert len(lines_of(graph_of(*LIMO))) == 1
    assert lines_of(graph_of(*LIMO, "data.pool.hub.revision=v1")) == []


# ------------------------------------------------------------------------------------------------- the file itself


def test_the_file_is_sorted_and_reads_back(tmp_path: Path) -> None:
    rows = ((RepoKind.MODEL, "b/model", "main", OLD), (RepoKind.DATASET, "c/set", "v1", NEW))
    path = tmp_path / "pins.lock"
    write_pins(path, pins_of(*rows))
    text = path.read_text()
    assert text.splitlines()[1:] == [
        f"dataset  c/set    v1    {NEW}  {RESOLVED}",
        f"model    b/model  main  {OLD}  {RESOLVED}",
    ]
    assert read_pins(path) == pins_of(*rows)
    write_pins(path, dict(reversed(read_pins(path).items())))
    assert path.read_text() == text
    assert [each.name for each in tmp_path.iterdir()] == ["pins.lock"]


def test_two_that_pin_at_once_keep_the_lines_of_both(tmp_path: Path) -> None:
    path = tmp_path / "pins.lock"
    names = [HubName(RepoKind.MODEL, f"a/model-{number}", "main") for number in range(32)]
    with ThreadPoolExecutor(8) as several:
        list(several.map(lambda name: add_pin(path, name, Pin(OLD, RESOLVED)), names))
    assert set(read_pins(path)) == set(names)
    assert [each.name for each in tmp_path.iterdir()] == ["pins.lock"]


@pytest.mark.parametrize(
    "line",
    [
        "<<<<<<< HEAD",
        f"model a/b main {OLD}",
        f"model a/b main {OLD[:12]} {RESOLVED}",
        f"space a/b main {OLD} {RESOLVED}",
        f"model a/b main {OLD} {RESOLVED} more",
        f"model first/one main {OLD} {RESOLVED}",
    ],
)
def test_a_line_that_cannot_be_understood_is_refused_by_its_number(here: Path, line: str) -> None:
    (here / "pins.lock").write_text(f"# heading\n\nmodel first/one main {NEW} {RESOLVED}\n{line}\n")
    with pytest.raises(ConfigError, match=r"^pins\.lock line 4") as refusal:
        graph_of(*LIMO)
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_no_text_is_refused(here: Path) -> None:
    (here / "pins.lock").write_bytes(b"model \xff")
    with pytest.raises(ConfigError, match=r"^pins\.lock: not UTF-8 text\."):
        graph_of(*LIMO)


# ------------------------------------------------------------------------------------------------- from the command


ROWS = [
    {"question": f"What is {n} + 1?", "solution": f"It is {n + 1}.", "answer": str(n + 1), "text": "x"}
    for n in range(3)
]


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    """A pool at two commits, and the model whose tokens measure it."""
    sets: dict[str, Mapping[str, bytes]] = {
        OLD: {"train.jsonl": jsonl(*ROWS[:2])},
        NEW: {"data/train.parquet": parquet(*ROWS)},
    }
    fake = FakeHub({("dataset", "GAIR/LIMO"): sets}, {("dataset", "GAIR/LIMO", "main"): OLD})
    with served(fake):
        yield fake


@pytest.mark.slow
def test_a_name_is_resolved_once_and_the_sweep_then_reads_that_commit(here: Path, hub: FakeHub) -> None:
    home = here / "home"
    refused = sweep(*LIMO, here=here, environment=offline(home))
    assert refused[0] == 1
    assert "Run `python -m sweep pin +experiment=curate data=limo` on a machine with network access." in refused[1]
    assert not (here / "pins.lock").exists()

    status, text = sweep("pin", *LIMO, here=here, environment=online(home, hub))
    assert (status, text.splitlines()[0]) == (0, f"  pinned  dataset GAIR/LIMO main = {OLD}")
    assert text.splitlines()[1] == f"pins: {here / 'pins.lock'}"
    (pin,) = read_pins(here / "pins.lock").values()
    assert pin.commit == OLD

    hub.names["dataset", "GAIR/LIMO", "main"] = NEW
    before = (here / "pins.lock").read_text()
    status, text = sweep("pin", *LIMO, here=here, environment=online(home, hub))
    assert text.splitlines()[0] == f"  kept    dataset GAIR/LIMO main = {OLD}, resolved {pin.resolved_at}"
    assert (here / "pins.lock").read_text() == before

    status, text = sweep("prefetch", *LIMO, here=here, environment=online(home, hub))
    assert status == 0
    assert f"  dataset GAIR/LIMO {OLD}: 2 rows" in text.splitlines()

    status, text = sweep(*LIMO, here=here, environment=offline(home))
    assert status == 0, text
    (record,) = [json.loads(path.read_text()) for path in here.glob("store/pool/*/record.json")]
    assert (record["summary"]["rows"], record["summary"]["commit"]) == (2, OLD)
    assert record["identity"]["config"]["pool"]["hub"]["revision"] == OLD

    status, text = sweep("pin", "--refresh", *LIMO, here=here, environment=online(home, hub))
    assert text.splitlines()[0] == f"  moved   dataset GAIR/LIMO main: {OLD} -> {NEW}"
    status, text = sweep(*LIMO, here=here, environment=offline(home))
    assert status == 1
    assert f"data.pool.hub GAIR/LIMO: commit {NEW} is not in the cache and the hub cannot be reached (offline" in text


def test_offline_nothing_is_resolved_from_what_happens_to_be_cached(here: Path) -> None:
    lay_out(here / "home", "dataset", "GAIR/LIMO", OLD, {"train.jsonl": jsonl(*ROWS)})
    status, text = sweep("pin", *LIMO, here=here, environment=offline(here / "home"))
    assert status == 1
    assert text.strip() == (
        "error data.pool.hub.revision GAIR/LIMO: cannot resolve 'main', since the hub cannot be reached (offline:"
        " HF_HUB_OFFLINE is set). Run the same command on a machine with network access."
    )
    assert not (here / "pins.lock").exists()


def test_resolvable_names_are_pinned_and_the_rest_reported(here: Path, hub: FakeHub) -> None:
    both = ["model=s1_32b", "data=none", "task=aime24", "task.hub.revision=v9"]
    hub.commits["dataset", "Maxwell-Jia/AIME_2024"] = {OLD: {}}
    hub.commits["model", "simplescaling/s1-32B"] = {NEW: {}}
    hub.names["model", "simplescaling/s1-32B", "main"] = NEW
    status, text = sweep("pin", *both, here=here, environment=online(here / "home", hub))
    assert status == 1
    assert f"pinned  model simplescaling/s1-32B main = {NEW}" in text
    assert "error task.hub.revision Maxwell-Jia/AIME_2024: it has no revision v9." in text
    assert list(read_pins(here / "pins.lock")) == [HubName(RepoKind.MODEL, "simplescaling/s1-32B", "main")]


def test_a_command_with_all_its_commits_has_nothing_to_pin(here: Path) -> None:
    status, text = sweep("pin", "data=dial_1k", here=here, environment=offline(here / "home"))
    assert (status, text.strip()) == (0, "nothing to pin: every name already has a commit.")
    status, text = sweep("pin", "refresh=true", here=here, environment=offline(here / "home"))
    assert (status, text.strip()) == (2, "error pin: refresh=true is now an option. Write --refresh.")


@pytest.mark.parametrize("words", [["prefetch"], ["prepare", "cpu", "units.txt"]])
def test_nothing_unpinned_is_fetched_or_made_by_hand(here: Path, words: list[str]) -> None:
    status, text = sweep(*words, *LIMO, here=here, environment=offline(here / "home"))
    assert status == 1
    assert "error data.pool.hub.revision null: GAIR/LIMO is unpinned. Run `python -m sweep pin" in text
    assert not (here / "units.txt").exists()


def test_a_submission_keeps_the_pins_that_it_was_planned_with(here: Path) -> None:
    name = (RepoKind.DATASET, "GAIR/LIMO", "main")
    write_pins(here / "pins.lock", pins_of((*name, OLD)))
    dry_run = [*LIMO, "launch=slurm", "launch.dry_run=true"]
    status, text = sweep(*dry_run, here=here, environment=offline(here / "home"))
    assert (status, "to submit it: python -m sweep resume" in text) == (0, True), text
    write_pins(here / "pins.lock", pins_of((*name, NEW)))
    (directory,) = submissions(here / "store")
    _, again = planned_again(directory)
    assert again.artifact.address == directory.read().product
    assert again.artifact.address != graph_of(*LIMO).artifact.address


def test_a_dry_run_shows_what_is_unpinned_and_cannot_be_submitted(here: Path) -> None:
    queue = [*LIMO, "launch=slurm"]
    environment = offline(here / "home")
    assert sweep(*queue, here=here, environment=environment)[0] == 1
    assert not (here / "store" / "submissions").exists()
    status, text = sweep(*queue, "launch.dry_run=true", here=here, environment=environment)
    assert status == 0, text
    assert "unpinned  data.pool.hub.revision null: GAIR/LIMO is unpinned." in text
    assert "to submit it: pin what is unpinned" in text
    write_pins(here / "pins.lock", pins_of((RepoKind.DATASET, "GAIR/LIMO", "main", ABSENT)))
    status, text = sweep("resume", here=here, environment=environment)
    assert status == 1
    assert "error data.pool.hub.revision null: GAIR/LIMO is unpinned." in text
    assert "Pin them, then run its command" in text
