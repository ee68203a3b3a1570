"""`sweep store`, `store check` and `store prune` on real directories of the toy pipeline."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sweep.core.provenance import PROJECT
from sweep.results.result import results_in
from sweep.results.roots import write_root
from sweep.store.attempt import begin
from sweep.store.directory import StageDirectory, read_json
from sweep.worker.run import main as run_stage
from tests.support.housekeeper import User, flip_a_byte
from tests.support.records import record_with, rewrite, unfinish


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


# --------------------------------------------------------------------------------------------------- list


def test_the_listing_counts_stages_by_name_and_what_results_rest_on(user: User) -> None:
    shutil.rmtree(user.results / "other")
    (user.store.root / "wandb").mkdir()
    (user.store.root / "wandb" / "run").write_bytes(bytes(2000))
    done = user.run("store")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[:3] for row in rows[2:5]] == [["doubled", "3", "3"], ["number", "3", "3"], ["total", "2", "2"]]
    assert ["3", "calls"] in rows
    assert ["wandb", "2.0", "kB"] in rows
    assert ["results:", "2,", "listed", "by", "`python", "-m", "sweep", "results`"] in rows
    assert any(
        row[:2] == ["not", "there"] and row[2].endswith(f"other/{user.total(2, 3, name='other').path.name};")
        for row in rows
    )
    assert done.stdout.splitlines()[5].startswith("shared/toys  ")


NO_STORE = "error store {home}/store: does not exist. Name the store with --store, or run an experiment first.\n"
NO_RESULTS = "no results in {home}/results (nothing there), and none of the store {home}/store (nothing there).\n"


@pytest.mark.parametrize("words", [["store"], ["store", "check"], ["store", "prune"], ["store", "release", "toy"]])
def test_a_store_that_does_not_exist_is_an_error_and_nothing_is_created(tmp_path: Path, words: list[str]) -> None:
    done = User(tmp_path).run(*words)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", NO_STORE.format(home=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_without_results_the_folders_that_were_searched_are_named(tmp_path: Path) -> None:
    done = User(tmp_path).run("results")
    assert (done.returncode, done.stdout, done.stderr) == (0, NO_RESULTS.format(home=tmp_path), "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["stor"], "stor: no such command. Did you mean store? Known here: "),
        (
            ["store", "chek"],
            "store chek: no such command. Did you mean store check? Known here: check,",
        ),
        (["store", "prune", "yes=ja"], "yes 'ja': input should be a valid boolean"),
        (["store", "stor=x"], "store stor=x: no such field. Did you mean store?"),
        (["store", "pipeline=tests.nope"], "pipeline tests.nope: no such module."),
    ],
)
def test_what_is_not_understood_is_refused_in_a_line(user: User, words: list[str], complaint: str) -> None:
    places = [] if words[-1].startswith("pipeline") else [f"store={user.store.root}"]
    command = [sys.executable, "-m", "sweep", *words, *places]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    is_usage = "no such command" in complaint or "no such field" in complaint
    assert done.returncode == (2 if is_usage else 1)
    assert complaint in done.stderr and len(done.stderr.splitlines()) == 1 and done.stdout == ""


def test_the_sub_command_explains_itself(user: User) -> None:
    done = user.run("store", "--help")
    assert done.returncode == 0
    assert "store check, store prune, store release" in done.stdout


# ------------------------------------------------------------------------------------------------ results


@pytest.mark.slow
def test_results_are_listed_by_name_with_what_became_of_them(user: User) -> None:
    toy_key, other_key = user.total(1, 2).path.name, user.total(2, 3, name="other").path.name
    (user.results / "toy" / toy_key / "total.txt").write_text("5", encoding="utf-8")
    (user.results / "other").rename(user.home / "moved")
    done = user.run("results")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        f"other/{other_key}@{user.total(2, 3, name='other').digest[:4]}",
        f"toy/{toy_key}@{user.total(1, 2).digest[:4]}  latest",
    ]
    assert "  changed since  total.txt" in lines
    assert f"  {user.results / 'other' / other_key}" in lines
    release = next(line.split("python -m sweep ")[1] for line in lines if line.startswith("  not there"))
    assert f"released other/{other_key} (root " in user.run(*release.split()).stdout
    assert "other" not in user.run("results").stdout.replace(str(user.home), "")


def test_a_result_whose_manifest_is_damaged_is_listed_all_the_same(user: User) -> None:
    file = user.results / "toy" / "latest" / "manifest.json"
    file.write_text("{", encoding="utf-8")
    done = user.run("results")
    assert done.returncode == 1
    assert f"{file.resolve()}: damaged, not JSON. Restore it from roots/" in done.stderr
    assert f"toy/{user.total(1, 2).path.name}@" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["results", "all"], "results: 'all' is one word too many; it takes no words. See sweep results --help."),
        (["store", "release"], "store release: RESULT is missing (its path, its NAME/KEY, or the id"),
        (["store", "release", "toy"], "release toy: no such root in"),
    ],
)
def test_what_is_asked_of_results_is_answered_in_words(user: User, words: list[str], said: str) -> None:
    done = user.run(*words)
    assert done.returncode == (1 if "root" in said else 2), done.stdout
    assert said in done.stderr and "Traceback" not in done.stdout + done.stderr


# -------------------------------------------------------------------------------------------------- check


def test_a_store_as_it_was_published_passes(user: User) -> None:
    assert "9 stages and shared stores checked, 0 damaged." in user.check(status=0)


@pytest.mark.slow
def test_a_flipped_byte_is_reported_set_aside_and_made_again(user: User) -> None:
    flip_a_byte(user.doubled(2).out / "doubled.json")
    place = user.doubled(2).address
    told = user.check(status=1)
    assert f"damaged  {place}  out/doubled.json: changed since it was published. To repair it: python -m" in told
    assert "Set aside. The next sweep makes it again." in user.check("--repair", status=0)
    assert (user.doubled(2).path / "damaged-1" / "out" / "doubled.json").exists()
    assert not user.doubled(2).is_done
    assert user.sweep("shape.number=2,4")[0] == 0
    assert json.loads((user.doubled(2).out / "doubled.json").read_text(encoding="utf-8")) == 4
    user.check(status=0)


def test_an_extra_file_is_reported(user: User) -> None:
    (user.number(1).out / "extra.json").write_text("1", encoding="utf-8")
    assert "out/extra.json: added after it was published" in user.check(status=1)


def test_a_lost_file_is_noticed_by_the_next_sweep_that_reads_it(user: User) -> None:
    """Planning looks at the names and sizes of what it reuses, no further."""
    (user.doubled(2).out / "doubled.json").unlink()
    told = f"damaged  {user.doubled(2).address}  out/doubled.json: missing. It is set aside and made again."
    before = user.files()
    assert told in user.sweep("shape.number=2,4", "plan=true")[1]
    assert user.files() == before
    status, said = user.sweep("shape.number=2,4")
    assert status == 0 and told in said
    assert (user.results / "toy" / "latest" / "total.txt").read_text(encoding="utf-8") == "12"


@pytest.mark.slow
def test_a_damaged_record_is_restored_from_its_second_copy(user: User) -> None:
    before = user.doubled(2).read_record()
    user.doubled(2).record_file.write_text('{"key":', encoding="utf-8")
    whole = "record.json: changed since it was published; its second copy and the artifact are intact."
    assert f"{user.doubled(2).address}  {whole}" in user.check(status=1)
    status, said = user.sweep("shape.number=2,4")
    assert status == 0
    assert f"restored  {user.doubled(2).address}  its record is lost or damaged; the second copy is intact." in said
    assert user.doubled(2).read_record() == before
    user.check(status=0)


def test_a_description_of_another_stage_is_reported(user: User) -> None:
    shutil.copy(user.number(1).stage_file, user.number(2).stage_file)
    assert f"{user.number(2).address}  stage.json: describes another stage." in user.check(status=1)
    user.doubled(1).stage_file.write_bytes(b"\xff")
    assert f"{user.doubled(1).address}  stage.json: missing or not JSON." in user.check(status=1)


def test_a_worker_refuses_an_input_that_is_cut(user: User) -> None:
    (user.number(1).out / "number.json").write_text("", encoding="utf-8")
    unfinish(user.doubled(1))
    assert run_stage([str(user.doubled(1).path)]) == 1
    assert read_json(user.doubled(1).failed_file)["message"] == (
        f"input {user.number(1).address}: damaged, out/number.json: 0 bytes, 1 were published."
        " Run the sweep again: it makes the input again, or prints what that costs if it is above"
        " cost.remake_limit_usd."
    )


def test_a_product_from_before_checksums_is_unchecked_and_not_damaged(user: User) -> None:
    record = user.number(1).read_record()
    rewrite(user.number(1), {name: value for name, value in record.items() if name != "files"})
    flip_a_byte(user.number(1).out / "number.json")
    assert "0 damaged. 1 predate checksums: unchecked." in user.check(status=0)


@pytest.mark.slow
def test_shared_data_of_a_batch_is_checked_and_repaired_by_its_pipeline(user: User) -> None:
    with (user.store.shared("toys") / "calls.txt").open("a", encoding="utf-8") as calls:
        calls.write("torn")
    assert "damaged  shared/toys  calls.txt: line 4 torn. To repair it: " in user.check(status=1)
    with user.doubled(3).locked():
        assert "A worker is running: repair it when that has ended." in user.check("--repair", status=1)
    assert "Rewritten without it." in user.check("--repair", status=0)
    user.check(status=0)


def test_a_product_with_a_link_is_refused(tmp_path: Path) -> None:
    directory = StageDirectory(tmp_path / "number" / "00000000000a")
    attempt = begin(directory)
    (attempt.out / "model").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="out/model: a symbolic link"):
        attempt.publish(record_with())
    assert not directory.is_done
