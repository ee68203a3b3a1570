"""A hub dataset or model is read at exactly its commit, or refused in one line, from caches laid out on disk."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from s1.config.schema import Hub
from tests.support.hubs import ABSENT, NEW, OLD, FakeHub, jsonl, lay_out, offline, online, parquet, run, served

pytestmark = pytest.mark.slow  # processes that load the libraries of the hub

REPO = "some/set"
READ = """
import json, sys
from s1.config.schema import ConfigError, Hub
from s1.hub.datasets import rows_at
answers = []
for each in json.load(sys.stdin):
    try:
        answers.append([dict(row) for row in rows_at(Hub(**each), "task.hub", "set task.data_file to a local copy")])
    except ConfigError as error:
        answers.append(str(error))
print(json.dumps(answers))
"""
CARD = b"""---
configs:
- config_name: easy
  data_files: [{split: train, path: easy/*.jsonl}]
- config_name: hard
  data_files: [{split: train, path: hard/*.jsonl}, {split: test, path: more/*.jsonl}]
---
A card.
"""


def read(home: Path, *hubs: Hub) -> list[Any]:
    """Rows, or the line that refuses them, of each."""
    return run(READ, [asdict(hub) for hub in hubs], offline(home))


def at(commit: str | None, split: str = "train", subset: str | None = None, repo: str = REPO) -> Hub:
    return Hub(repo, commit, split, subset)


def refusal(home: Path, hub: Hub) -> str:
    (line,) = read(home, hub)
    assert isinstance(line, str), line
    assert "\n" not in line and "Traceback" not in line
    return line


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / ".cache" / "huggingface"


@pytest.mark.parametrize(("name", "encode"), [("train.jsonl", jsonl), ("data/train-00000-of-00001.parquet", parquet)])
def test_the_pinned_commit_is_read_though_a_newer_one_is_cached_and_named_by_main(home: Path, name, encode) -> None:
    """Files of both are equal in name, size and time, and the newer was read before."""
    for commit, text in ((OLD, "old"), (NEW, "new")):
        lay_out(home, "dataset", REPO, commit, {name: encode({"id": "1", "problem": text, "answer": "7"})})
    rows = read(home, at(NEW), at(OLD), at(NEW), at(OLD))
    assert [each[0]["problem"] for each in rows] == ["new", "old", "new", "old"]
    assert read(home, at(OLD))[0][0]["problem"] == "old"  # also by another process, which finds what was prepared


def test_a_commit_that_is_not_cached_is_refused_and_not_replaced_by_another(home: Path) -> None:
    lay_out(home, "dataset", REPO, NEW, {"train.jsonl": jsonl({"problem": "new"})})
    assert read(home, at(NEW))[0] == [{"problem": "new"}]
    assert refusal(home, at(ABSENT)) == (
        f"task.hub some/set: commit {ABSENT} is not in the cache and the hub cannot be reached (offline: HF_HUB_OFFLINE"
        " is set). Run `python -m sweep prefetch` with the same overrides on a machine with network access, or set"
        " task.data_file to a local copy."
    )


@pytest.mark.parametrize("revision", [None, "main", "v1.0", "a" * 7, "A" * 40])
def test_what_is_no_commit_is_never_read(home: Path, revision: str | None) -> None:
    lay_out(home, "dataset", REPO, NEW, {"train.jsonl": jsonl({"problem": "new"})})
    assert "is not a commit. Run `python -m sweep pin`" in refusal(home, at(revision))


def test_a_broken_ref_does_not_matter(home: Path) -> None:
    snapshot = lay_out(home, "dataset", REPO, OLD, {"train.jsonl": jsonl({"problem": "old"})})
    (snapshot.parents[1] / "refs" / "main").write_bytes(b"\x00\xff not a commit")
    assert read(home, at(OLD))[0] == [{"problem": "old"}]


def test_a_snapshot_that_leads_to_another_commit_is_refused(home: Path) -> None:
    snapshot = lay_out(home, "dataset", REPO, NEW, {"train.jsonl": jsonl({"problem": "new"})})
    snapshot.with_name(OLD).symlink_to(snapshot)
    assert f"the cache of commit {OLD} links to {snapshot}" in refusal(home, at(OLD))


def test_subsets_and_splits_are_those_of_the_card(home: Path) -> None:
    files = {f"{part}/rows.jsonl": jsonl({"problem": part}) for part in ("easy", "hard", "more")}
    lay_out(home, "dataset", REPO, OLD, {"README.md": CARD, **files})
    hubs = [at(OLD, subset="easy"), at(OLD, subset="hard"), at(OLD, "test", "hard"), at(OLD, "train[:1]", "hard")]
    assert [each[0]["problem"] for each in read(home, *hubs)] == ["easy", "hard", "more", "hard"]
    wrong = read(home, at(OLD, subset="main"), at(OLD), at(OLD, "test", "easy"), at(OLD, "train+dev", "hard"))
    assert [line.partition(": ")[0] for line in wrong] == [
        *("task.hub.subset 'main'", "task.hub.subset null"),
        *("task.hub.split 'test'", "task.hub.split 'train+dev'"),
    ]
    assert all("(subsets: easy, hard)" in line for line in wrong[:2])
    assert wrong[2].endswith("Name one of these: train.") and wrong[3].endswith("Name one of these: train, test.")


def test_a_subset_that_is_not_cached_is_refused_though_another_is(home: Path) -> None:
    lay_out(home, "dataset", REPO, OLD, {"README.md": CARD, "easy/rows.jsonl": jsonl({"problem": "easy"})})
    assert read(home, at(OLD, subset="easy"))[0] == [{"problem": "easy"}]
    assert f"task.hub some/set: commit {OLD}, subset hard cannot be read" in refusal(home, at(OLD, subset="hard"))


def test_a_snapshot_with_a_file_missing_is_refused(home: Path) -> None:
    whole = {f"data/train-{index:05}-of-00003.parquet": parquet({"problem": str(index)}) for index in range(3)}
    snapshot = lay_out(home, "dataset", REPO, OLD, whole)
    assert len(read(home, at(OLD))[0]) == 3
    last = snapshot / "data" / "train-00002-of-00003.parquet"
    blob = last.resolve()
    blob.rename(blob.with_suffix(".gone"))
    assert "is incomplete in the cache: data/train-00002-of-00003.parquet" in refusal(home, at(OLD))
    last.unlink()
    assert "incomplete in the cache: 2 of 3 files data/train-*.parquet" in refusal(home, at(OLD))


ROW = jsonl({"problem": "7"})
BROKEN = {
    "a cut table": {"train.parquet": parquet({"problem": "7"})[:40]},
    "a cut line": {"train.jsonl": b'{"problem": '},
    "no rows": {"train.jsonl": b""},
    "another encoding": {"train.csv": "problem,answer\n\xe9,1\n".encode("latin-1")},
    "no data": {"notes.md": b"nothing here"},
    "a card that is no YAML": {"README.md": b"---\nconfigs: [\n---\n", "train.jsonl": ROW},
    "a card that is no text": {"README.md": b"\xff\xfe", "train.jsonl": ROW},
    "a card of another form": {"README.md": b"---\ndataset_info: {features: 3, splits: x}\n---\n", "train.jsonl": ROW},
    "infos of another form": {"dataset_infos.json": b"[]", "train.jsonl": ROW},
}


def test_files_that_cannot_be_read_are_refused(home: Path) -> None:
    repos = [f"some/{number}" for number in range(len(BROKEN))]
    for repo, files in zip(repos, BROKEN.values(), strict=True):
        lay_out(home, "dataset", repo, OLD, files)
    lines = read(home, *(at(OLD, repo=repo) for repo in repos))
    for what, repo, line in zip(BROKEN, repos, lines, strict=True):
        assert isinstance(line, str), what
        assert line.startswith(f"task.hub {repo}: commit {OLD} cannot be read from the cache ("), what
        assert "\n" not in line, what


@pytest.mark.parametrize("split", ["", "dev", "train[x]", "train[5:2]", "train[:1"])
def test_a_split_that_is_not_there_is_refused_with_those_that_are(home: Path, split: str) -> None:
    lay_out(home, "dataset", REPO, OLD, {"train.jsonl": ROW, "test.jsonl": ROW})
    line = refusal(home, at(OLD, split))
    assert line.startswith(f"task.hub.split {split!r}: not in some/set at commit {OLD} (")
    assert line.endswith("Name one of these: train, test.")


# ------------------------------------------------------------------------------------------------- with a network


def test_a_commit_is_fetched_whole_and_then_read_without_the_network(home: Path) -> None:
    old = {"data/train-00000-of-00001.parquet": parquet({"problem": "old"}), "code.py": b"raise SystemExit"}
    hub = FakeHub({("dataset", REPO): {OLD: old, NEW: {"train.jsonl": jsonl({"problem": "new"})}}})
    with served(hub):
        assert run(READ, [asdict(at(OLD))], online(home, hub)) == [[{"problem": "old"}]]
    assert read(home, at(OLD))[0] == [{"problem": "old"}]
    assert not any(path.endswith("code.py") for path in hub.asked)
    snapshot = home / "hub" / "datasets--some--set" / "snapshots" / OLD
    file = snapshot / "data" / "train-00000-of-00001.parquet"
    blob = file.resolve()
    blob.write_bytes(blob.read_bytes()[:-1])
    assert "incomplete in the cache: data/train-00000-of-00001.parquet (" in refusal(home, at(OLD))
    shutil.rmtree(snapshot / "data")
    assert "is incomplete in the cache and the hub cannot be reached (offline: HF_HUB_OFFLINE is set)" in refusal(
        home, at(OLD)
    )


def test_what_the_hub_refuses_is_one_line_that_says_what_to_do(home: Path) -> None:
    hub = FakeHub({("dataset", REPO): {OLD: {}}, ("dataset", "closed/set"): {OLD: {}}}, gated={"closed/set"})
    hubs = [at(ABSENT), at(OLD, repo="no/set"), at(OLD, repo="closed/set"), at(OLD, repo="a/b/c")]
    with served(hub):
        lines = run(READ, [asdict(each) for each in hubs], online(home, hub))
    assert all(isinstance(line, str) and "\n" not in line for line in lines)
    assert f"task.hub some/set: it has no revision {ABSENT}." in lines[0]
    assert "task.hub no/set: no such dataset on the hub, or it is private." in lines[1]
    assert "task.hub closed/set: gated, and you have no access. Accept its terms at https://hugg" in lines[2]
    assert "task.hub a/b/c: not a repository name." in lines[3]


def test_a_hub_that_does_not_answer_is_refused_like_no_network(home: Path) -> None:
    with served(FakeHub()) as hub:
        gone = online(home, hub)
    (line,) = run(READ, [asdict(at(OLD))], gone)
    assert f"commit {OLD} is not in the cache and the hub cannot be reached (ConnectError" in line


# ---------------------------------------------------------------------------------------------------------- models

START = """
import json, sys
from pathlib import Path
from s1.config.schema import ConfigError, ModelKind
from s1.stages import BaseModelConfig
from s1.models.location import commit_read, materialise, model_location, tokenizer_at
from sweep.core.stage import Work
answers = []
for number, (repo, commit, out) in enumerate(json.load(sys.stdin)):
    config = BaseModelConfig(ModelKind.HUB, repo, commit, None, None, None, 0)
    out = Path(out)
    try:
        if not out.exists():
            out.mkdir(parents=True)
            summary = materialise(Work("key", config, {}, out, out, out, {}, lambda *_: None))
        else:
            summary = {}
        location = model_location(out)
        commits = [summary.get("commit"), commit_read(out)["model_commit"]]
        answers.append([location.model, location.revision, len(tokenizer_at(location)), *commits])
    except ConfigError as error:
        answers.append(str(error))
print(json.dumps(answers))
"""


def model(words: tuple[str, ...], place: Path) -> dict[str, bytes]:
    """The files of a tiny model whose tokenizer knows these words."""
    from s1.config.schema import Architecture
    from s1.models.location import piece_tokenizer, random_model

    tokenizer = piece_tokenizer(words)
    random_model(Architecture(8, 1, 2, 16, 10000.0, 0.02), tokenizer, 0).save_pretrained(place)
    tokenizer.save_pretrained(place)
    return {path.name: path.read_bytes() for path in place.iterdir()}


def test_a_model_is_loaded_from_the_snapshot_of_its_commit_alone(home: Path, tmp_path: Path) -> None:
    old = lay_out(home, "model", "some/model", OLD, model(("one",), tmp_path / "old"))
    new = lay_out(home, "model", "some/model", NEW, model(("one", "two"), tmp_path / "new"))
    outs = [str(tmp_path / name) for name in ("start-old", "start-new", "start-absent")]
    orders = [["some/model", commit, out] for commit, out in zip((OLD, NEW, ABSENT), outs, strict=True)]
    first, second, third = run(START, orders, offline(home))
    assert first[:2] == [str(old), None] and second[:2] == [str(new), None]
    assert second[2] == first[2] + 1
    assert [first[3:], second[3:]] == [[OLD, OLD], [NEW, NEW]]  # which the records say
    assert json.loads((tmp_path / "start-old" / "location.json").read_text()) == {
        "model": "some/model",
        "revision": OLD,
    }
    assert third.startswith(f"model.repo some/model: commit {ABSENT} is not in the cache and the hub cannot be reached")
    shutil.rmtree(old)  # between the stages, or on another machine
    (later,) = run(START, orders[:1], offline(home))
    assert later.startswith(f"model.repo some/model: commit {OLD} is not in the cache")


def test_a_model_with_a_file_of_weights_missing_is_refused(home: Path, tmp_path: Path) -> None:
    files = model(("one",), tmp_path / "model")
    weights = {"weight_map": {"a": "first.safetensors", "b": "second.safetensors"}}
    split = {"first.safetensors": files.pop("model.safetensors")}
    index = {"model.safetensors.index.json": json.dumps(weights).encode()}
    lay_out(home, "model", "some/model", OLD, {**files, **split, **index})
    lay_out(home, "model", "some/other", OLD, {**files, **split, "model.safetensors.index.json": b"{"})
    lay_out(home, "model", "some/third", OLD, {"model-00002-of-00004.safetensors": b"", **files})
    repos = ["some/model", "some/other", "some/third"]
    lines = run(START, [[repo, OLD, str(tmp_path / repo)] for repo in repos], offline(home))
    assert "1 of 2 weight files are missing" in lines[0] and "second.safetensors" in lines[0]
    assert "lists no weights" in lines[1]
    assert "incomplete in the cache: 1 of 4 files model-*.safetensors" in lines[2]


# ------------------------------------------------------------------------------------------------- the hub's own hashes


def flip(path: Path) -> None:
    """One bit of what a link leads to; its size and its times stay."""
    blob = path.resolve()
    content, state = bytearray(blob.read_bytes()), blob.stat()
    content[len(content) // 2] ^= 1
    blob.write_bytes(content)
    os.utime(blob, ns=(state.st_atime_ns, state.st_mtime_ns))


def under_its_git_name(snapshot: Path, name: str) -> None:
    """As the hub's cache keeps a file that is no LFS file."""
    path = snapshot / name
    blob, content = path.resolve(), path.read_bytes()
    blob = blob.rename(blob.with_name(hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()))
    path.unlink()
    path.symlink_to(blob)


@pytest.mark.parametrize("is_git", [False, True], ids=["sha256", "git"])
@pytest.mark.parametrize("name", ["train.jsonl", "README.md"])
def test_rows_that_are_not_the_hubs_are_refused_with_the_blob_to_remove(home: Path, name: str, is_git: bool) -> None:
    files = {"train.jsonl": jsonl({"problem": "seven", "answer": "7"}), "README.md": b"---\n{}\n---\nA card.\n"}
    snapshot = lay_out(home, "dataset", REPO, OLD, files)
    if is_git:
        for each in files:
            under_its_git_name(snapshot, each)
    assert read(home, at(OLD))[0] == [{"problem": "seven", "answer": "7"}]
    flip(snapshot / name)
    assert refusal(home, at(OLD)) == (
        f"task.hub some/set: commit {OLD}: cached files differ from the hub's: {name}. Remove"
        f" {(snapshot / name).resolve()}. Run `python -m sweep prefetch` with the same overrides on a machine"
        " with network access."
    )


def test_a_damaged_file_is_fetched_again_once_it_is_removed(home: Path) -> None:
    files = {"train.jsonl": jsonl({"problem": "seven"})}
    hub = FakeHub({("dataset", REPO): {OLD: files}})
    snapshot = home / "hub" / "datasets--some--set" / "snapshots" / OLD
    with served(hub):
        assert run(READ, [asdict(at(OLD))], online(home, hub)) == [[{"problem": "seven"}]]
        flip(snapshot / "train.jsonl")
        (line,) = run(READ, [asdict(at(OLD))], online(home, hub))
        Path(line.split("Remove ")[1].split(". Run")[0]).unlink()
        assert run(READ, [asdict(at(OLD))], online(home, hub)) == [[{"problem": "seven"}]]


def test_the_hubs_list_of_files_tells_where_a_files_own_name_does_not(home: Path) -> None:
    """Copies instead of links, as on file systems without them."""
    hub = FakeHub({("dataset", REPO): {OLD: {"train.jsonl": jsonl({"problem": "seven"})}}})
    with served(hub):
        run(READ, [asdict(at(OLD))], online(home, hub))
    path = home / "hub" / "datasets--some--set" / "snapshots" / OLD / "train.jsonl"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    assert read(home, at(OLD))[0] == [{"problem": "seven"}]
    path.write_bytes(content.replace(b"seven", b"sevem"))
    assert "cached files differ from the hub's: train.jsonl. Remove" in refusal(home, at(OLD))


def test_a_prepared_table_that_is_damaged_is_prepared_again(home: Path) -> None:
    lay_out(home, "dataset", REPO, OLD, {"train.jsonl": jsonl(*({"problem": "seven"} for _ in range(100)))})
    rows = read(home, at(OLD))[0]
    (table,) = home.rglob("*.arrow")
    table.write_bytes(table.read_bytes().replace(b"sevenseven", b"sevemseven", 1))
    assert read(home, at(OLD))[0] == rows
    table.write_bytes(table.read_bytes()[:-100])
    assert read(home, at(OLD))[0] == rows


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_model_that_is_not_the_hubs_is_refused_where_it_is_loaded(home: Path, tmp_path: Path, name: str) -> None:
    snapshot = lay_out(home, "model", "some/model", OLD, model(("one",), tmp_path / "model"))
    orders = [["some/model", OLD, str(tmp_path / "base_model")]]
    assert run(START, orders, offline(home))[0][0] == str(snapshot)
    flip(snapshot / name)
    (line,) = run(START, orders, offline(home))
    assert line == (
        f"model.repo some/model: commit {OLD}: cached files differ from the hub's: {name}. Remove"
        f" {(snapshot / name).resolve()}. Run `python -m sweep prefetch` with the same overrides on a machine"
        " with network access."
    )


def test_a_link_to_the_whole_blob_of_another_file_is_refused_where_the_hubs_list_was_kept(home: Path) -> None:
    """Of equal size and named after its own hash: only the list tells."""
    hub = FakeHub({("dataset", REPO): {OLD: {"train.jsonl": jsonl({"problem": "seven"})}}})
    with served(hub):
        assert run(READ, [asdict(at(OLD))], online(home, hub)) == [[{"problem": "seven"}]]
    path = home / "hub" / "datasets--some--set" / "snapshots" / OLD / "train.jsonl"
    content = path.read_bytes().replace(b"seven", b"eight")
    other = path.resolve().with_name(hashlib.sha256(content).hexdigest())
    other.write_bytes(content)
    path.unlink()
    path.symlink_to(os.path.relpath(other, path.parent))
    assert f"cached files differ from the hub's: train.jsonl. Remove {other}." in refusal(home, at(OLD))
