"""Attempts and their publication, and the handling of artifacts and records that changed afterwards."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sweep.json_files import StoreError, create_json, read_json, sealed, write_json
from sweep.store.attempt import begin, move_to, restore
from sweep.store.checksums import inodes_of
from sweep.store.directory import StageDirectory
from sweep.store.temporary import token
from sweep.worker.run import main as run_stage
from tests.support import toy
from tests.support.housekeeper import User, point
from tests.support.records import record_with, rewrite, unfinish

RECORD = record_with(usd=0.5, seconds=1.0, generation=0, inputs={}, summary={})


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> User:
    user = User(tmp_path_factory.mktemp("user"))
    assert user.sweep("shape.number=1,2")[0] == 0
    return user


@pytest.fixture
def user(scanned: User, tmp_path: Path) -> User:
    shutil.copytree(scanned.home, tmp_path / "home", symlinks=True)
    return User(tmp_path / "home")


def total(user: User) -> StageDirectory:
    (path,) = (user.store.root / "total").iterdir()
    return StageDirectory(path)


def directory_in(home: Path) -> StageDirectory:
    directory = StageDirectory(home / "number" / "00000000000a")
    directory.path.mkdir(parents=True)
    write_json(directory.stage_file, {"identity": {}})
    return directory


def written(directory: StageDirectory, text: str):
    attempt = begin(directory)
    (attempt.out / "number.json").write_text(text, encoding="utf-8")
    return attempt


def flip(path: Path, at: int = 0, *, keep_time: bool = False) -> None:
    state, content = path.stat(), bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    if keep_time:
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


# ------------------------------------------------------------------------------------------------------- publication


def test_of_two_attempts_the_first_to_publish_counts_and_the_other_leaves_nothing(tmp_path: Path) -> None:
    directory = directory_in(tmp_path)
    first = written(directory, "1")
    second = type(first)(directory, "0000000b")  # of a worker that no lock kept away
    second.out.mkdir()
    (second.out / "number.json").write_text("2", encoding="utf-8")
    assert second.publish(RECORD) and not first.publish(RECORD)
    assert (directory.out / "number.json").read_text(encoding="utf-8") == "2"
    assert (directory.path / "out" / "number.json").read_text(encoding="utf-8") == "2"
    assert [path.name for path in directory.path.glob("out-*")] == ["out-0000000b"]
    assert [path.name for path in directory.path.glob("record-*")] == ["record-0000000b.json"]


def test_an_attempt_that_another_process_restored_meanwhile_is_published(tmp_path: Path) -> None:
    """It had written the second copy, and not yet the record."""
    directory = directory_in(tmp_path)
    attempt = written(directory, "1")
    attempt.publish(RECORD)
    directory.record_file.unlink()
    assert restore(directory)
    assert attempt.publish(RECORD)
    assert (directory.out / "number.json").read_text(encoding="utf-8") == "1"


def test_an_attempt_whose_files_were_removed_publishes_nothing(tmp_path: Path) -> None:
    directory = directory_in(tmp_path)
    attempt = written(directory, "1")
    shutil.rmtree(attempt.out)
    with pytest.raises((StoreError, OSError)):
        attempt.publish(RECORD)
    assert not directory.is_done and not restore(directory)


def test_a_new_attempt_clears_those_of_dead_processes_alone(tmp_path: Path) -> None:
    directory = directory_in(tmp_path)
    host = token().rpartition("-")[0].rpartition("-")[0]
    dead, alive = (f"out-{host}-{process}-0000000a" for process in (2**22 - 1, os.getppid()))
    for name in (dead, alive, "out-0000000c"):
        (directory.path / name).mkdir()
    attempt = begin(directory)
    assert {path.name for path in directory.path.glob("out-*")} == {alive, attempt.out.name}


@pytest.mark.parametrize("refusal", [errno.EPERM, errno.EOPNOTSUPP])
def test_without_hard_links_the_first_still_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int
) -> None:
    def link(*_paths: object) -> None:
        raise OSError(refusal, "no links here")

    monkeypatch.setattr(os, "link", link)
    assert create_json(tmp_path / "record.json", {"a": 1})
    assert not create_json(tmp_path / "record.json", {"a": 2})
    assert read_json(tmp_path / "record.json") == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_a_record_that_cannot_be_created_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_paths: object) -> None:
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(OSError, match="disk full"):
        create_json(tmp_path / "record.json", {"a": 1})
    assert list(tmp_path.iterdir()) == []


def test_a_product_whose_worker_died_before_its_record_is_published_by_the_next(tmp_path: Path) -> None:
    directory = directory_in(tmp_path)
    written(directory, "1").publish(RECORD)
    directory.record_file.unlink()
    assert run_stage([str(directory.path)]) == 0
    assert directory.read_record()["usd"] == 0.5


def test_a_record_that_names_another_place_is_refused(tmp_path: Path) -> None:
    directory = directory_in(tmp_path)
    written(directory, "1").publish(RECORD)
    for name in ("../other", "/etc", "out-../x", ""):
        rewrite(directory, {**directory.read_record(), "out": name})
        with pytest.raises(StoreError, match="names no artifact"):
            directory.read_record()
        assert restore(directory)


# ----------------------------------------------------------------------------------------------------------- records


def lost(path: Path) -> None:
    path.unlink()


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_digit_changed(path: Path) -> None:
    """JSON as before, of another price."""
    text = path.read_text(encoding="utf-8")
    assert '"usd": 0.0' in text
    path.write_text(text.replace('"usd": 0.0', '"usd": 9.0'), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("damage", [lost, torn, emptied, a_folder, a_digit_changed])
def test_a_damaged_record_is_restored_and_nothing_is_made_again(user: User, damage: Any) -> None:
    directory = user.doubled(1)
    before, product = directory.read_record(), directory.out
    damage(directory.record_file)
    said = user.sweep("shape.number=1,2", "plan=true")[1]
    assert "0 stages to run" in said and f"restored  {directory.address}" in said
    status, said = user.sweep("shape.number=1,2")
    assert status == 0 and "0 stages to run" in said
    assert directory.read_record() == before and directory.out == product
    assert directory.address in read_json(user.results / "toy" / "latest" / "manifest.json")["stages"]
    user.check(status=0)


def test_a_record_of_before_that_is_torn_sets_its_product_aside_and_removes_nothing(user: User) -> None:
    directory = user.doubled(1)
    for copy in directory.path.glob("record-*.json"):
        copy.unlink()
    torn(directory.record_file)
    product = (directory.path / "out" / "doubled.json").read_bytes()
    assert user.sweep("shape.number=1,3")[0] == 1
    assert user.sweep("shape.number=1,3", "redo=doubled")[0] == 0
    assert (directory.path / "damaged-1" / "out" / "doubled.json").read_bytes() == product
    assert (directory.out / "doubled.json").read_bytes() == product


@pytest.mark.slow
def test_a_lost_description_is_written_again(user: User) -> None:
    directory = user.doubled(1)
    before = directory.read_stage()
    directory.stage_file.unlink()
    assert user.sweep("shape.number=1,2")[0] == 0
    assert directory.read_stage() == before
    write_json(directory.stage_file, {"identity": {}})
    assert "stage.json: describes no stage" in user.check(status=1)
    assert "Restored." in user.check("--repair", status=0)
    assert directory.read_stage() == before and directory.is_done


@pytest.mark.slow
def test_a_damaged_second_copy_is_reported_and_written_again(user: User) -> None:
    (copy,) = user.doubled(1).path.glob("record-*.json")
    before = read_json(copy)
    flip(copy, 30)
    assert f"{copy.name}: missing or damaged" in user.check(status=1)
    assert "Restored." in user.check("--repair", status=0)
    assert read_json(copy) == before


# ---------------------------------------------------------------------------------------------------------- products


@pytest.mark.parametrize("keep_time", [False, True])
def test_a_flipped_digit_of_a_result_is_never_published(user: User, keep_time: bool) -> None:
    before = (user.results / "toy" / "latest" / "total.txt").read_bytes()
    flip(total(user).out / "total.txt", keep_time=keep_time)
    status, said = user.sweep("shape.number=1,2")
    assert status == 0
    assert f"damaged  {total(user).address}  out/total.txt: changed since it was published. It is set aside" in said
    assert (user.results / "toy" / "latest" / "total.txt").read_bytes() == before
    assert (total(user).path / "damaged-1" / "out" / "total.txt").exists()


def test_a_bit_that_flipped_without_a_trace_is_found_by_whoever_reads_it(user: User) -> None:
    """As if the disk had changed it: the file looks untouched."""
    number = user.number(1)
    flip(number.out / "number.json")
    write_json(number.hashed_file, inodes_of(number.out, ["number.json"]))
    unfinish(user.doubled(1))
    unfinish(total(user))
    status, said = user.sweep("shape.number=1,2")
    assert status == 1
    assert f"input {number.address}: damaged, out/number.json: changed since it was published." in said
    status, said = user.sweep("shape.number=1,2")
    assert status == 0 and f"damaged  {number.address}" in said
    assert (user.results / "toy" / "latest" / "total.txt").read_text(encoding="utf-8") == "6"


def test_what_was_made_of_sound_bytes_outlives_a_flip_in_them(user: User) -> None:
    flip(user.number(1).out / "number.json")
    status, said = user.sweep("shape.number=1,2")
    assert status == 0 and "0 stages to run" in said and "damaged" not in said


def over_limit(user: User, number: int, usd: float) -> StageDirectory:
    """A damaged product that cost so much, and is needed again."""
    directory = user.doubled(number)
    record: Mapping[str, Any] = {**directory.read_record(), "usd": usd}
    rewrite(directory, record)
    flip(directory.out / "doubled.json")
    return directory


def test_an_expensive_product_that_is_damaged_is_reported_with_its_price_and_left(user: User) -> None:
    directory = over_limit(user, 2, 23.1)
    content = (directory.out / "doubled.json").read_bytes()
    for words in ([], ["plan=true"]):
        status, said = user.sweep("shape.number=2,4", *words)
        assert status == (0 if words else 1)
        assert (
            f"damaged  {directory.address}  out/doubled.json: changed since it was published. redo=doubled makes it"
            " again for 23.10 USD, as does a cost.remake_limit_usd above 1. Left as it is."
        ) in said
    assert (directory.out / "doubled.json").read_bytes() == content and not user.doubled(4).is_done
    assert user.sweep("shape.number=2,4", "redo=doubled")[0] == 0
    assert json.loads((directory.out / "doubled.json").read_text(encoding="utf-8")) == 4
    assert (directory.path / "damaged-1" / "out" / "doubled.json").read_bytes() == content


def test_a_damaged_product_within_the_limit_is_made_again_at_once(user: User) -> None:
    directory = over_limit(user, 2, 0.9)
    status, said = user.sweep("shape.number=2,4")
    assert status == 0 and "It is set aside and made again. It cost 0.9000 USD." in said
    assert json.loads((directory.out / "doubled.json").read_text(encoding="utf-8")) == 4


def test_a_move_that_was_cut_off_is_finished_by_the_next_attempt(tmp_path: Path) -> None:
    directory = directory_in(tmp_path)
    written(directory, "1").publish(RECORD)
    out = directory.out
    move_to(directory, "superseded")
    (directory.path / "superseded-1" / out.name).rename(out)  # as if it had died before this step
    written(directory, "2").publish(RECORD)
    assert (directory.path / "superseded-1" / out.name / "number.json").read_text(encoding="utf-8") == "1"
    assert (directory.out / "number.json").read_text(encoding="utf-8") == "2"


def test_a_stage_that_another_process_moved_is_not_moved_twice(tmp_path: Path) -> None:
    directory = directory_in(tmp_path)
    written(directory, "1").publish(RECORD)
    move_to(directory, "damaged")
    move_to(directory, "damaged")
    assert [path.name for path in directory.path.glob("damaged-*")] == ["damaged-1"]


def test_a_store_of_before_is_read_as_it_is(tmp_path: Path) -> None:
    """Records without a checksum of their own, and products in out/."""
    directory = directory_in(tmp_path)
    (directory.path / "out").mkdir()
    (directory.path / "out" / "number.json").write_text("1", encoding="utf-8")
    states = {"number.json": {"bytes": 1, "sha256": "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"}}
    write_json(directory.record_file, {**RECORD, "files": states})
    assert directory.out == directory.path / "out" and not directory.new_faults()[0]
    write_json(directory.record_file, sealed({**RECORD, "files": states}) | {"usd": 0.1})
    assert directory.faults() == ["record.json: changed since it was published"]


def test_points_of_the_toy_are_where_these_tests_look(user: User) -> None:
    assert user.doubled(1).path == user.store.directory(toy.doubled_of(point(1))).path
