"""Results are never replaced and never removed: published, listed, copied, released, by the toy pipeline."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from sweep.cli.results import Listed, show_listed
from sweep.console import Console
from sweep.errors import InputError
from sweep.local.execute import execute_plan
from sweep.maintenance.prune import prune
from sweep.maintenance.retention import Removal
from sweep.plan.graph import plan
from sweep.results.publish import require_place
from sweep.results.result import latest_of, read_result, results_in
from sweep.results.roots import roots
from sweep.store.checksums import file_states
from sweep.store.directory import StoreError, read_json
from tests.support.publisher import KILLED, User, content


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    user = User(tmp_path_factory.mktemp("scanned"))
    work = plan([user.graph.artifact], user.store.is_done)
    assert execute_plan(Console(file=io.StringIO()), user.graph, work, user.store, user.results)
    shutil.rmtree(user.results)
    shutil.rmtree(user.store.root / "roots")
    return user.home


@pytest.fixture
def user(scanned: Path, tmp_path: Path) -> User:
    shutil.copytree(scanned, tmp_path / "home", symlinks=True)
    return User(tmp_path / "home")


# ------------------------------------------------------------------------------------------------ publishing


def test_a_result_lies_under_its_key_and_latest_leads_to_it(user: User) -> None:
    published = user.publish()
    assert published.path == user.folder / user.key
    assert published.warnings == ()
    assert content(user.folder) == {
        **{
            f"{user.key}/{name}": (published.path / name).read_bytes()
            for name in ("manifest.json", "costs.csv", "costs.js")
        },
        f"{user.key}/total.txt": b"6",
        "latest": user.key,
    }
    manifest = read_json(published.path / "manifest.json")
    assert manifest["product"] == f"total/{user.key}"
    assert manifest["points"] == 2
    assert manifest["files"] == {"total.txt": file_states(user.product.out)["total.txt"]["sha256"]}
    assert manifest["lost"] == {}


def test_the_same_bytes_again_write_nothing_and_a_users_files_stay(user: User) -> None:
    user.publish()
    (user.folder / user.key / "notes.txt").write_text("mine", encoding="utf-8")
    (user.folder / user.key / "figures").mkdir()
    (user.folder / "comparison.ods").write_text("mine too", encoding="utf-8")
    before = {path: path.lstat().st_mtime_ns for path in user.home.rglob("*")}
    assert user.publish().path == user.folder / user.key
    assert {path: path.lstat().st_mtime_ns for path in user.home.rglob("*")} == before


def test_other_bytes_under_the_same_key_are_published_beside_it(user: User) -> None:
    first = content(user.publish().path)
    user.make_otherwise(user.product, "total.txt", "7")
    second = user.publish()
    assert second.path == user.folder / f"{user.key}-2"
    assert second.warnings == (
        f"{user.folder / user.key}: has different content and was kept. Published as {user.key}-2.",
    )
    assert content(user.folder / user.key) == first
    assert (user.folder / "latest" / "total.txt").read_text(encoding="utf-8") == "7"
    assert user.publish().warnings == ()
    user.make_otherwise(user.product, "total.txt", "6")
    assert user.publish().path == user.folder / user.key
    assert (user.folder / "latest").readlink() == Path(user.key)
    assert sorted(path.name for path in user.folder.iterdir()) == [user.key, f"{user.key}-2", "latest"]


@pytest.mark.parametrize(
    "harm",
    [
        lambda result: (result / "total.txt").write_text("5", encoding="utf-8"),
        lambda result: (result / "total.txt").unlink(),
        lambda result: (result / "manifest.json").write_text("{", encoding="utf-8"),
        lambda result: (result / "manifest.json").write_text('{"experiment": "toy"}', encoding="utf-8"),
    ],
)
def test_what_a_user_did_to_a_result_stays_and_a_whole_one_is_published_beside_it(
    user: User, harm: Callable[[Path], object]
) -> None:
    result = user.publish().path
    harm(result)
    before = content(result)
    beside = user.publish()
    assert beside.path == user.folder / f"{user.key}-2" and len(beside.warnings) == 1
    assert content(result) == before
    assert user.publish().path == beside.path


def test_a_result_that_was_moved_away_is_published_again(user: User) -> None:
    user.publish().path.rename(user.home / "elsewhere")
    assert user.publish().path == user.folder / user.key
    assert (user.home / "elsewhere" / "total.txt").exists()


def test_the_old_layout_is_left_alone(user: User) -> None:
    published = user.publish().path
    for path in list(published.iterdir()):
        path.rename(user.folder / path.name)
    published.rmdir()
    before = content(user.folder)
    assert user.publish().path == published
    assert before.items() <= content(user.folder).items()


def lose_manifest(place: Path) -> None:
    (place / "manifest.json").unlink()


def tear_manifest(place: Path) -> None:
    (place / "manifest.json").write_text("{", encoding="utf-8")


def put_a_file(place: Path) -> None:
    shutil.rmtree(place)
    place.write_text("mine", encoding="utf-8")


def put_a_folder(place: Path) -> None:
    shutil.rmtree(place)
    place.mkdir()


@pytest.mark.parametrize("change", [lose_manifest, tear_manifest, put_a_file, put_a_folder])
def test_beside_what_is_no_result_any_more_the_result_is_published_once(
    user: User, change: Callable[[Path], None]
) -> None:
    place = user.publish().path
    change(place)
    before = {path: text for path, text in content(user.folder).items() if path != "latest"}
    for _ in range(2):
        published = user.publish()
        assert published.path == place.with_name(f"{user.key}-2")
    assert before.items() <= content(user.folder).items()
    assert latest_of(published.path)


@pytest.mark.parametrize(
    ("place", "complaint"),
    [
        ("results", "exists, and is not a folder. Move it away, or choose another results= or name=."),
        ("results/toy", "exists, and is not a folder. Move it away, or choose another results= or name=."),
    ],
)
def test_what_is_in_the_way_is_refused_before_anything_runs(user: User, place: str, complaint: str) -> None:
    path = user.home / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine", encoding="utf-8")
    for refuse in (lambda: require_place(user.graph, user.store, user.results), user.publish):
        with pytest.raises(InputError) as refused:
            refuse()
        assert str(refused.value) == f"results {path}: {complaint}"


def test_the_store_itself_is_no_folder_for_results(user: User) -> None:
    """A result there would be pruned as a stage."""
    with pytest.raises(InputError, match="this is the store, where results would look like stages"):
        user.publish(user.store.root)


@pytest.mark.parametrize("name", ["published", "Latest", "..", ".", "a/b", "", "-x", "a b", "x" * 201, "e\u0301"])
def test_a_name_that_can_be_no_folder_of_results_is_refused(user: User, name: str) -> None:
    with pytest.raises(InputError, match=r"^name .*\. (Use|Choose) .*\.$"):
        replace(user.graph, name=name)


def test_a_product_that_is_not_what_its_record_says_is_not_published(user: User) -> None:
    (user.product.out / "total.txt").write_text("9", encoding="utf-8")
    with pytest.raises(StoreError, match=r"total/.*total\.txt: changed since it was published\. Nothing is"):
        user.publish()
    assert list(user.folder.iterdir()) == []
    (user.product.out / "total.txt").unlink()
    with pytest.raises(StoreError, match=r"total\.txt: missing"):
        user.publish()


def test_a_manifest_of_the_product_itself_gives_way_to_ours(user: User) -> None:
    user.make_otherwise(user.product, "manifest.json", '{"curve": "0a"}')
    published = user.publish()
    assert "stages" in read_json(published.path / "manifest.json")
    assert list(published.manifest["files"]) == ["total.txt"]
    assert user.publish().path == published.path


def test_a_stage_whose_record_is_lost_is_listed_and_said(user: User) -> None:
    first, second = (user.store.directory(each) for each in user.graph.artifact.inputs["doubled"])  # type: ignore[arg-type]
    first.record_file.unlink()
    second.record_file.write_text("{", encoding="utf-8")
    published = user.publish()
    assert published.manifest["lost"] == {
        first.address: "its record.json is missing",
        second.address: "its record.json is damaged",
    }
    assert len(published.manifest["stages"]) == 3
    assert published.warnings[0] == (
        f"{first.address}: its record.json is missing; its digest and cost are lost. Add redo=total to make it again."
    )
    assert not user.prunable()  # the root names them too


def test_a_lost_record_does_not_end_in_silence(user: User) -> None:
    doubled = user.store.directory(user.graph.artifact.inputs["doubled"][0])  # type: ignore[arg-type]
    doubled.record_file.unlink()
    said = io.StringIO()
    work = plan([user.graph.artifact], user.store.is_done)
    assert execute_plan(Console(file=said, width=300), user.graph, work, user.store, user.results)
    assert f"warning  {doubled.address}: its record.json is missing" in said.getvalue()


# ------------------------------------------------------------------------------------------------------ latest


def test_where_links_are_not_supported_that_is_said(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    published = user.publish()
    assert published.warnings == (
        f"{user.folder}/latest: not set (Operation not permitted). The result is {published.path}.",
    )
    assert [path.name for path in user.folder.iterdir()] == [user.key]


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: path.symlink_to("/")])
def test_a_latest_of_the_users_own_stays(user: User, make: Callable[[Path], object]) -> None:
    user.folder.mkdir(parents=True)
    make(user.folder / "latest")
    before = (user.folder / "latest").lstat()
    assert user.publish().warnings == (
        f"{user.folder}/latest: not a link to a result here, so it was kept. The result is {user.folder / user.key}.",
    )
    assert (user.folder / "latest").lstat() == before


# ----------------------------------------------------------------------------------- killed, and several at once


def dies_before_change(user: User, number: int) -> bool:
    """Publish in a process that is killed before its n-th change of the disk; False if it made fewer."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED
    left = number

    def deadly(act: Callable[..., object]) -> Callable[..., object]:
        def changed(*arguments: object, **named: object) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                os._exit(KILLED)
            return act(*arguments, **named)

        return changed

    try:
        for owner, name in (
            *((Path, name) for name in ("mkdir", "rename", "replace", "symlink_to", "unlink")),
            (shutil, "copyfile"),
            (os, "fsync"),
        ):
            setattr(owner, name, deadly(getattr(owner, name)))
        user.publish()
        os._exit(0)
    finally:
        os._exit(1)


def test_a_publication_killed_anywhere_leaves_what_was_there_and_the_next_one_is_whole(user: User) -> None:
    old = content(user.publish().path)
    user.make_otherwise(user.product, "total.txt", "7")
    deaths = 0
    while True:
        copy = User(user.home.with_name(f"killed-{deaths}"))
        shutil.copytree(user.home, copy.home, symlinks=True)
        if not dies_before_change(copy, deaths + 1):
            break
        deaths += 1
        assert content(copy.folder / copy.key) == old
        assert (copy.folder / "latest" / "total.txt").exists()
        left = [path for path in copy.folder.iterdir() if path.name.startswith(".")]
        assert len(left) <= 1
        assert [each.place for each in removals_of_asides(copy)] == [f"toy/{path.name}" for path in left]
        assert copy.publish().path == copy.folder / f"{copy.key}-2"
        assert sorted(path.name for path in copy.folder.iterdir()) == [copy.key, f"{copy.key}-2", "latest"]
        assert (copy.folder / "latest" / "total.txt").read_text(encoding="utf-8") == "7"
        assert len(roots(copy.store)[0]) == len({root.id for root in roots(copy.store)[0] if root.is_there})
    assert deaths >= 8


def removals_of_asides(user: User) -> list[Removal]:
    return [
        each for each in prune(user.store, user.results, yes=False, unfinished=False).gone if "/." in f"/{each.place}"
    ]


def test_two_stores_that_publish_one_key_at_once_both_find_their_place(user: User) -> None:
    other = User(user.home.with_name("other"))
    shutil.copytree(user.home, other.home, symlinks=True)
    other.make_otherwise(other.product, "total.txt", "7")
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda each: each.publish(user.results).path, [user, other] * 8))
    assert set(paths) == {user.folder / user.key, user.folder / f"{user.key}-2"}
    assert {path.name for path in user.folder.iterdir()} == {user.key, f"{user.key}-2", "latest"}
    for path, whose in zip(paths, [user, other] * 8, strict=True):
        assert (path / "total.txt").read_bytes() == (whose.product.out / "total.txt").read_bytes()


# ------------------------------------------------------------------------------------------------------ the list


def test_links_and_what_is_half_published_are_no_results_of_their_own(user: User) -> None:
    path = user.publish().path
    shutil.copytree(path, user.folder / f".{user.key}.node7-4711-9f3c1ab2")
    assert [each.path for each in results_in(user.results)[0]] == [path]


def test_the_list_reads_well_at_80_columns(golden: Callable[[str, str], None]) -> None:
    first = Listed(
        name="budget_scan/1a2b3c4d5e6f",
        digest="9c1f0a2b3c4d",
        points=10,
        finished_at="2026-11-26T16:33:22+00:00",
        size_bytes=1_234_567,
        usd=0.0034,
        path="/scratch/a-project-with-a-long-name/of-a-group/experiments/results/budget_scan/1a2b3c4d5e6f",
        is_latest=False,
        changed=["table.csv", "figures/scaling.png"],
        root="0123456789ab",
        by="ann",
    )
    others = (
        replace(first, name="budget_scan/1a2b3c4d5e6f-2", digest="77aa00000000", changed=[], is_latest=True, by=""),
        replace(first, points=1, usd=1234.5, changed=[], size_bytes=None, by=""),
        replace(first, name="data_ablation", digest="", points=None, finished_at="", changed=[], root="", by=""),
    )
    console = Console(file=io.StringIO(), width=80, highlight=False)
    show_listed(console, [first, *others])
    golden("store/results.txt", console.file.getvalue())  # type: ignore[attr-defined]


MANIFEST_OF_A_RESULT = {"experiment": "toy", "stages": {"total/1": {"digest": "ab"}}}


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *((field, wrong) for field in ("stages", "files", "lost", "packages") for wrong in (None, [], "text", 3)),
        *((field, wrong) for field in ("product", "experiment") for wrong in (None, [], {}, 3)),
        *(("remarks", wrong) for wrong in (None, {}, "text", 3)),
        *(("points", wrong) for wrong in (None, [], {}, "text")),
        ("product", ""),
        ("stages", {"total/1": None}),
        ("stages", {"total/1": {"digest": None}}),
        ("files", {"table.csv": None}),
    ],
)
def test_a_manifest_with_a_field_of_a_wrong_type_is_damaged(tmp_path: Path, field: str, wrong: object) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({**MANIFEST_OF_A_RESULT, field: wrong}), encoding="utf-8")
    with pytest.raises(StoreError, match=r"manifest\.json: damaged, its fields are not those of a result\. Restore it"):
        read_result(tmp_path)


def test_a_manifest_of_an_earlier_version_without_newer_fields_is_read(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps(MANIFEST_OF_A_RESULT), encoding="utf-8")
    assert (found := read_result(tmp_path)) and found.manifest.digests == {"total/1": "ab"}
    assert found.manifest.files is None and found.manifest.artifact is None
