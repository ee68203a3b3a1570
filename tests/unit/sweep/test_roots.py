"""Roots keep the stages of a result, wherever the result is, until it is released."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import pytest

from sweep.console import Console
from sweep.errors import InputError
from sweep.local.execute import execute_plan
from sweep.maintenance.inventory import take_inventory
from sweep.maintenance.prune import prune
from sweep.plan.graph import plan
from sweep.results import roots as roots_file
from sweep.results.copy import copy_to
from sweep.results.roots import release, roots
from sweep.store.directory import StageDirectory, StoreError, read_json, write_json
from tests.support.publisher import User, content


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


def test_what_a_result_rests_on_is_kept_wherever_the_result_lies(user: User) -> None:
    user.publish(user.home / "far" / "away")
    assert user.prunable() == set()
    shutil.rmtree(user.home / "far")
    assert user.prunable() == set()
    (resting,) = take_inventory(user.store, user.results).results
    assert resting.place == str(user.home / "far" / "away" / "toy" / user.key) and not resting.is_there
    before = content(user.store.root)
    release(user.store, f"toy/{user.key}", yes=False)
    assert {name for name, _ in before.items() - content(user.store.root).items()} == {f"roots/{resting.root}.json"}
    assert f"total/{user.key}" in user.prunable()


def test_a_result_in_the_results_folder_keeps_what_it_rests_on_without_a_root(user: User) -> None:
    path = user.publish().path
    path.rename(user.results / "renamed by hand")
    shutil.rmtree(user.folder)
    shutil.rmtree(user.store.root / "roots")
    (user.results / "manifest.json").write_text('{"name": "a web page of mine"}', encoding="utf-8")
    assert user.prunable() == set()


@pytest.mark.parametrize("spelled", ["{path}", "{path}/", "{folder}/latest", "toy/{key}", "toy/{key}@{digest}", "{id}"])
def test_a_root_is_released_by_path_name_or_id(user: User, spelled: str) -> None:
    path = user.publish().path
    (root,) = roots(user.store)[0]
    before = content(user.results)
    names = {"path": path, "folder": user.folder, "key": user.key, "id": root.id, "digest": user.product.digest[:4]}
    release(user.store, spelled.format(**names), yes=False)
    assert roots(user.store) == ([], [])
    assert content(user.results) == before


def test_a_release_that_is_not_clear_is_refused(user: User) -> None:
    user.publish()
    user.publish(user.home / "second")
    with pytest.raises(InputError, match=rf"release toy/{user.key}: matches 2 roots\. Choose one by its ID: "):
        release(user.store, f"toy/{user.key}", yes=True)
    with pytest.raises(InputError, match=rf"release toy: no such root in .*\. Known: toy/{user.key}, "):
        release(user.store, "toy", yes=True)
    assert len(roots(user.store)[0]) == 2


def test_a_root_of_another_user_needs_to_be_meant(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    user.publish()
    monkeypatch.setattr(roots_file, "account_name", lambda: "somebody")
    with pytest.raises(InputError, match=r"published by .*\. Ask them, or add yes=true\."):
        release(user.store, f"toy/{user.key}", yes=False)
    release(user.store, f"toy/{user.key}", yes=True)
    assert roots(user.store) == ([], [])


def test_another_result_at_the_same_path_is_another_root(user: User) -> None:
    user.publish().path.rename(user.home / "first")
    user.make_otherwise(user.product, "total.txt", "7")
    user.publish()
    assert sorted(root.is_there for root in roots(user.store)[0]) == [False, True]


def test_a_damaged_root_is_written_again_by_its_result(user: User) -> None:
    user.publish()
    (file,) = (user.store.root / "roots").iterdir()
    before = json.loads(file.read_text(encoding="utf-8"))
    file.write_text("", encoding="utf-8")
    with pytest.raises(StoreError, match=rf"{file}: damaged\. Publish its result again, by the same command"):
        user.prunable()
    user.publish()
    assert json.loads(file.read_text(encoding="utf-8"))["manifest"] == before["manifest"]


def test_a_superseded_product_stays_while_a_result_cites_it(user: User) -> None:
    user.publish()
    doubled = user.store.directory(user.graph.artifact.inputs["doubled"][0])  # type: ignore[arg-type]
    for number, text in enumerate(("2", "20", "3"), start=1):  # the first is what the result rests on
        aside = StageDirectory(doubled.path / f"superseded-{number}")
        shutil.copytree(doubled.out, aside.path / doubled.out.name)
        shutil.copyfile(doubled.record_file, aside.record_file)
        user.make_otherwise(aside, "doubled.json", text)
    user.make_otherwise(doubled, "doubled.json", "4")
    assert user.prunable() == {f"{doubled.address}/superseded-{number}" for number in (2, 3)}
    assert prune(user.store, user.results, yes=True, unfinished=False).gone
    assert sorted(path.name for path in doubled.path.glob("superseded-*")) == ["superseded-1"]


def test_a_copy_replaces_the_files_of_an_earlier_one_and_no_others(user: User) -> None:
    target = user.results / "published" / "toy"
    copy_to(user.publish(), target)
    manifest = read_json(target / "manifest.json")
    write_json(target / "manifest.json", {**manifest, "files": {**manifest["files"], "old.txt": ""}})
    (target / "old.txt").write_text("of the earlier one", encoding="utf-8")
    (target / "mine.txt").write_text("mine", encoding="utf-8")
    (target / ".total.txt.node7-4711-9f3c1ab2").write_text(
        "of a copy that was killed on another node", encoding="utf-8"
    )
    os.utime(target / ".total.txt.node7-4711-9f3c1ab2", (0, 0))
    user.make_otherwise(user.product, "total.txt", "7")
    published = user.publish()
    copy_to(published, target)
    assert content(target) == {**content(published.path), "mine.txt": b"mine"}


@pytest.mark.parametrize("there", ["folder", "file", "clash"])
def test_a_copy_onto_what_is_not_ours_is_refused(user: User, there: str) -> None:
    target, published = user.home / "target", user.publish()
    if there == "file":
        target.write_text("mine", encoding="utf-8")
    else:
        target.mkdir()
        (target / "total.txt").write_text("mine", encoding="utf-8")
    if there == "clash":
        write_json(target / "manifest.json", {"experiment": "toy", "stages": {}, "files": {}})
    before = content(user.home)
    with pytest.raises(InputError, match=r"^to .*: exists, and is not (part of )?a result"):
        copy_to(published, target)
    assert content(user.home) == before
