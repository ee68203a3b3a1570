"""Pruning removes stages that no result uses, and nothing that is in use or unreadable."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sweep.claims.lock import LockMode
from sweep.results.result import results_in
from sweep.results.roots import write_root
from sweep.store.directory import StoreError
from sweep.store.temporary import token
from tests.support.housekeeper import User, killed
from tests.support.records import unfinish


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> User:
    """Two finished scans that share the point 2."""
    user = User(tmp_path_factory.mktemp("user"))
    assert user.sweep("shape.number=1,2")[0] == 0
    assert user.sweep("shape.number=2,3", "name=other")[0] == 0
    return user


@pytest.fixture
def user(scanned: User, tmp_path: Path) -> User:
    shutil.copytree(scanned.home, tmp_path / "home", symlinks=True)
    user = User(tmp_path / "home")
    shutil.rmtree(user.store.root / "roots")  # of the results there
    for result in results_in(user.results)[0]:
        write_root(user.store, result.path, result.manifest.content)
    return user


@pytest.mark.slow
def test_pruning_removes_only_what_no_result_rests_on(user: User) -> None:
    total = user.total(2, 3, name="other").address
    user.lose("other")
    before = user.files()
    would = user.prune()
    assert user.files() == before
    assert user.doubled(3).address in would and "3 in all" in would
    assert "3 in all" in user.prune("--yes")
    gone = before - user.files()
    assert {"/".join(Path(name).parts[1:3]) for name in gone} == {
        user.doubled(3).address,
        user.number(3).address,
        total,
    }
    status, said = user.sweep("shape.number=1,2")
    assert status == 0 and "0 stages to run" in said
    assert "nothing to remove." in user.prune()


def test_a_log_shared_with_what_goes_stays_with_what_stays(user: User) -> None:
    """Stages of one worker have one log; the links of the others must not point to nothing."""
    said = {n: user.doubled(n).log_file.read_text(encoding="utf-8") for n in (1, 2)}
    owner = next(n for n in (1, 2) if user.doubled(n).log_file.resolve().parent == user.doubled(n).path)
    kept = 3 - owner
    for result in ("toy", "other"):
        user.lose(result)
    assert user.sweep(f"shape.number={kept}")[0] == 0
    user.prune("--yes")
    assert not user.doubled(owner).path.exists()
    assert user.doubled(kept).log_file.read_text(encoding="utf-8") == said[kept]


def test_what_a_batch_shares_goes_with_its_last_stage(user: User) -> None:
    for result in ("toy", "other"):
        user.lose(result)
    user.prune("--yes")
    assert [path.name for path in user.store.root.iterdir() if path.name != "roots"] == ["lock"]


@pytest.mark.slow
def test_failed_stages_and_their_inputs_are_kept_until_pruned_explicitly(user: User) -> None:
    assert user.sweep("shape.number=7", "fail_at=7", "name=broken")[0] == 1
    failed = user.doubled(7, fail_at=7)
    assert "stays, unless --unfinished" in user.prune("--yes")
    assert failed.failed_file.exists() and user.number(7).is_done
    user.prune("--unfinished", "--yes")
    assert not failed.path.exists() and not user.number(7).path.exists()
    assert user.doubled(1).is_done


def test_a_running_stage_and_its_inputs_are_never_removed(user: User) -> None:
    out = user.doubled(3).out
    unfinish(user.doubled(3))
    for result in ("toy", "other"):
        user.lose(result)
    with user.doubled(3).locked():
        user.prune("--unfinished", "--yes")
        assert out.exists() and user.number(3).is_done and user.store.shared("toys").exists()
        assert not user.doubled(1).path.exists()
    user.prune("--unfinished", "--yes")
    assert not user.doubled(3).path.exists()


def test_prune_and_repair_exclude_running_sweeps_and_vice_versa(user: User) -> None:
    with user.store.held(LockMode.SHARED), user.store.held(LockMode.SHARED):
        for words in (["prune", "--yes"], ["check", "--repair"]):
            refused = user.run("store", *words)
            assert refused.returncode == 1
            assert (
                "in use by a sweep, a prune or a repair. Run the command again when that has ended." in refused.stderr
            )
    with user.store.held(LockMode.EXCLUSIVE), pytest.raises(StoreError, match="being pruned or repaired"):
        user.sweep("shape.number=1,2")


def test_leftovers_go_and_what_they_lie_in_stays(user: User) -> None:
    left = [user.doubled(1).path / "out-00000000", user.doubled(1).scratch, user.number(2).path / "damaged-1"]
    key = user.total(1, 2).path.name
    left += [user.results / "toy" / f".{key}.{killed()}", user.store.root / "aside" / "3f9a0b1c"]
    at_work = [user.results / "toy" / f".{key}.{token()}", user.store.root / "aside" / token()]
    for path in (*left, *at_work):
        path.mkdir(parents=True)
        (path / "file").write_bytes(bytes(1000))
    assert "5.0 kB" in user.prune("--yes")
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in at_work)
    user.check(status=0)


def test_attempts_that_no_record_names_go_and_what_one_can_be_restored_from_stays(user: User) -> None:
    unfinished = user.number(7)
    unfinished.path.mkdir()
    for directory in (user.number(1), unfinished):
        for name in ("out-lost", "out-whole"):
            (directory.path / name).mkdir()
            (directory.path / name / "file").write_bytes(bytes(1000))
        for name in ("record-whole.json", "record-torn.json"):
            (directory.path / name).write_text("{}", encoding="utf-8")
    user.prune("--yes")
    names = {path.name for path in user.number(1).path.iterdir()}
    assert not names & {"out-lost", "out-whole", "record-whole.json", "record-torn.json"}
    assert user.number(1).out.exists()
    assert {path.name for path in unfinished.path.iterdir()} == {"out-whole", "record-whole.json", "lock"}
    user.check(status=0)


@pytest.mark.parametrize("damaged", ["store/roots/*.json", "results/toy/*/manifest.json", "store/number/*/stage.json"])
def test_nothing_is_removed_where_it_cannot_be_known_what_rests_on_what(user: User, damaged: str) -> None:
    path = next(path for path in user.home.glob(damaged) if "latest" not in path.parts)
    path.write_text("{", encoding="utf-8")
    refused = user.run("store", "prune", "--yes")
    assert refused.returncode == 1
    assert f"{path}: damaged" in refused.stderr


def test_what_an_interrupted_scan_has_finished_is_not_pruned(tmp_path: Path) -> None:
    """Stages that were never begun are written down all the same, and hold on to what they wait for."""
    user = User(tmp_path)
    status, _ = user.sweep("shape.number=1,2,3", "fail_at=3")
    assert status == 1 and not (user.results / "toy").exists()
    finished = [user.number(1), user.number(2), user.number(3)]
    assert all(each.is_done for each in finished)
    user.prune("--yes")
    assert all(each.is_done for each in finished)
