"""Code changes under an existing store: stages made again, compared, reported, and made again on request.

The real command on the toy pipeline, in a copy of the project whose files are edited: number is UPSTREAM, doubled is
EXPENSIVE and of one batch, total is FINAL.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sweep.core.identity import shortened
from sweep.core.provenance import PROJECT
from sweep.core.stage import CodePolicy, Stage
from sweep.store.attempt import begin
from sweep.store.directory import StageDirectory, Store, read_json
from sweep.store.generations import described, same_as, shared_now, supersede
from sweep.worker.run import main as run_stage
from tests.support import toy
from tests.support.known import known
from tests.support.records import rewrite, unfinish

TOY = "tests/support/toy.py"
MADE_BY_OTHER_CODE = "made by other code (tests/support/toy.py)"


class Checkout:
    """A copy of the machinery and of the toy pipeline, with a store of its own."""

    def __init__(self, home: Path) -> None:
        self.code, self.store, self.results = home / "code", Store(home / "store"), home / "results"
        leave_out = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / "sweep", self.code / "sweep", ignore=leave_out)
        shutil.copytree(PROJECT / "tests/support/toy_conf", self.code / "conf")
        (self.code / "tests/support").mkdir(parents=True)
        shutil.copyfile(PROJECT / TOY, self.code / TOY)

    def run(self, *words: str, status: int = 0, numbers: str = "1,2") -> str:
        """One scan over numbers; returns what it printed."""
        places = [f"store={self.store.root}", f"results={self.results}"]
        done = subprocess.run(
            [sys.executable, "-m", "sweep", f"shape.number={numbers}", *words, *places, "-m"],
            cwd=self.code,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(self.code), "COLUMNS": "250", "PYTHONDONTWRITEBYTECODE": "1"},
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout if status == 0 else done.stdout + done.stderr

    def edit(self, old: str, new: str) -> None:
        path = self.code / TOY
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def made(self, name: str) -> dict[str, str]:
        """When each finished stage of a name was made, by key."""
        return {
            path.parent.name: f"{path.stat().st_mtime_ns}" for path in (self.store.root / name).glob("*/record.json")
        }

    def directory(self, name: str) -> StageDirectory:
        """The newest of a name."""
        records = (self.store.root / name).glob("*/record.json")
        return StageDirectory(max(records, key=lambda path: path.stat().st_mtime_ns).parent)

    def manifest(self) -> dict[str, Any]:
        return json.loads((self.results / "toy/latest/manifest.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    checkout = Checkout(tmp_path_factory.mktemp("checkout"))
    checkout.run()
    return checkout


@pytest.fixture
def checkout(finished: Checkout, tmp_path: Path) -> Checkout:
    """A copy of the finished scan, to be changed."""
    copy = Checkout(tmp_path)
    shutil.copytree(finished.store.root, copy.store.root, symlinks=True)
    shutil.copytree(finished.results, copy.results, symlinks=True)
    return copy


@pytest.mark.slow
def test_a_final_stage_follows_its_code_and_nothing_else_does(checkout: Checkout) -> None:
    before = {name: checkout.made(name) for name in ("number", "doubled")}
    checkout.edit("value = sum(", "value = 1 + sum(")
    said = checkout.run("plan=true")
    assert "1 stages to run, 2 reused" in said
    assert "code changed (tests/support/toy.py), 1 stage is made again" in said
    checkout.run()
    assert (checkout.results / "toy/latest/total.txt").read_text(encoding="utf-8") == "7"
    assert {name: checkout.made(name) for name in before} == before


def test_comments_and_formatting_make_nothing_again(checkout: Checkout) -> None:
    checkout.edit("def total(", "# The last one.\ndef total(")
    checkout.edit("    value = sum(", '    "The sum."\n    value = sum(')
    assert "0 stages to run" in checkout.run("plan=true")


@pytest.mark.slow
def test_a_final_stage_that_gives_the_same_bytes_knows_the_one_before(checkout: Checkout) -> None:
    first = checkout.directory("total")
    checkout.edit("value = sum(", "value = 0 + sum(")
    checkout.run()
    second = checkout.directory("total")
    assert second.path != first.path
    assert same_as(second.path, described(second.path.parent)) == [first.path]
    assert second.digest == first.digest
    checkout.edit("value = 0 + sum(", "value = 1 + sum(")
    checkout.run()
    third = checkout.directory("total").path
    assert same_as(third, described(third.parent)) == []


def test_an_expensive_stage_of_other_code_is_reused_and_said(checkout: Checkout) -> None:
    before = checkout.made("doubled")
    checkout.edit("value = 2 * json", "value = 2 * 1 * json")
    said = checkout.run()
    assert f"and 1 more: {MADE_BY_OTHER_CODE}; reused. redo=doubled makes them again." in said
    assert checkout.made("doubled") == before


@pytest.mark.slow
def test_an_upstream_stage_whose_other_code_gives_equal_bytes_stands_and_is_compared_once(checkout: Checkout) -> None:
    before = {name: checkout.made(name) for name in ("number", "doubled", "total")}
    checkout.edit("json.dumps(work.config.number)", "json.dumps(0 + work.config.number)")
    said = checkout.run()
    assert "0 stages to run" in said and "other" not in said
    directory = checkout.directory("number")
    (remembered,) = ((k, v) for k, v in read_json(directory.same_code_file).items() if k != "checksum")
    assert remembered[1] == []
    assert {name: checkout.made(name) for name in before} == before
    assert not (checkout.store.root / "aside").exists()
    at = directory.same_code_file.stat().st_mtime_ns
    checkout.run()
    assert directory.same_code_file.stat().st_mtime_ns == at


@pytest.mark.slow
def test_an_upstream_stage_whose_other_code_gives_other_bytes_stops_everything_until_it_is_meant(
    checkout: Checkout,
) -> None:
    checkout.edit("json.dumps(work.config.number)", "json.dumps(10 + work.config.number)")
    checkout.edit("value = sum(", "value = 0 + sum(")
    said = checkout.run(status=1)
    assert "its code changed (tests/support/toy.py) and now makes a different number.json. Add redo=number to" in said
    assert len(checkout.made("total")) == 1
    assert "now makes a different" in checkout.run("plan=true")
    checkout.run("redo=number")
    said = checkout.run()
    assert "redo=doubled makes it again" in said and "was read, but it is @" in said
    checkout.run("redo=doubled")
    assert (checkout.results / "toy/latest/total.txt").read_text(encoding="utf-8") == "46"
    assert "other" not in checkout.run()


def test_an_upstream_stage_that_took_long_or_cannot_be_made_is_reported_and_used(checkout: Checkout) -> None:
    slow, broken = sorted((checkout.store.root / "number").glob("*/record.json"))
    rewrite(StageDirectory(slow.parent), {**json.loads(slow.read_text(encoding="utf-8")), "seconds": 11.0})
    checkout.edit('    (work.out / "number.json")', "    assert False, 'no more'\n    (work.out / \"number.json\")")
    said = checkout.run()
    assert f"number/{slow.parent.name}: {MADE_BY_OTHER_CODE}; unchecked, it took 11 s; reused." in said
    assert (
        f"number/{broken.parent.name}: {MADE_BY_OTHER_CODE}; unchecked, its current code fails (no more); reused."
        in said
    )


def test_what_was_made_before_code_was_recorded_is_used(checkout: Checkout) -> None:
    for path in checkout.store.root.glob("*/*/record.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        for field in ("source", "inputs", "generation", "request_key"):
            del record[field]
        rewrite(StageDirectory(path.parent), record)
    checkout.edit("json.dumps(work.config.number)", "json.dumps(10 + work.config.number)")
    said = checkout.run()
    assert "0 stages to run" in said
    assert "4 stages predate the recording of code: reused" in said


@pytest.mark.slow
def test_redo_makes_a_kind_anew_and_what_is_final_on_it(checkout: Checkout) -> None:
    before = {name: checkout.made(name) for name in ("number", "doubled", "total")}
    said = checkout.run("redo=doubled", "plan=true")
    assert "3 stages to run, 2 reused" in said and "redo" in said
    assert checkout.made("doubled") == before["doubled"]
    checkout.run("redo=doubled")
    assert checkout.made("number") == before["number"]
    for name in ("doubled", "total"):
        assert set(checkout.made(name)) == set(before[name])
        assert not set(checkout.made(name).values()) & set(before[name].values())
    directory = checkout.directory("doubled")
    assert directory.read_record().get("generation") == 1
    assert (directory.path / "superseded-1/out/doubled.json").is_file()
    checkout.run("redo=doubled,number")
    assert known(checkout.directory("doubled").read_record().get("generation")) == 2
    assert "0 stages to run" in checkout.run()


def test_what_a_batch_shares_is_begun_afresh_by_redo(checkout: Checkout) -> None:
    """Or the tokens of a redo would be those that were generated before."""
    folder = checkout.store.shared("toys")
    before = (folder / "calls.txt").read_bytes()
    assert shared_now(folder) == folder
    checkout.run("redo=doubled")
    assert (folder / "calls.txt").read_bytes() == before
    assert shared_now(folder) == folder / "redo-1"
    assert len((folder / "redo-1/calls.txt").read_text(encoding="utf-8").splitlines()) == 2
    checkout.run(numbers="1,2,3")  # a point that is new continues what was generated last
    assert len((folder / "redo-1/calls.txt").read_text(encoding="utf-8").splitlines()) == 3


def test_redo_of_what_is_not_there_is_refused_with_what_is(checkout: Checkout) -> None:
    said = checkout.run("redo=nonsense", status=1)
    assert "redo nonsense: no such stage in this command. Known here: number, doubled, total." in said


def test_an_interrupted_redo_goes_on_without_being_asked_again(checkout: Checkout) -> None:
    checkout.run("redo=doubled")
    late = checkout.directory("doubled")
    for directory in (late, checkout.directory("total")):
        unfinish(directory)
    before = checkout.made("doubled")
    assert "2 stages to run, 2 reused" in checkout.run()
    assert checkout.made("doubled").items() > before.items()
    assert late.read_record().get("generation") == 1


def test_a_final_stage_that_read_other_bytes_than_there_are_now_is_made_again(checkout: Checkout) -> None:
    total = checkout.directory("total")
    record = total.read_record()
    address = next(iter(known(record.get("inputs"))))
    known(record.get("inputs"))[address] = "0" * 12
    rewrite(total, record)
    said = checkout.run("plan=true")
    assert "1 stages to run" in said
    assert f"{address}@0000 was read, but it is @" in said
    checkout.run()
    assert known(total.read_record().get("inputs"))[address] != "0" * 12
    assert "0 stages to run" in checkout.run()


def test_inputs_of_which_one_was_made_from_another_as_it_was_before_are_refused(checkout: Checkout) -> None:
    """Answers to questions of other words would be scored as answers to these."""
    point = toy.Point("toy", toy.Shape(1))
    number, doubled = toy.number_of(point), toy.doubled_of(point)
    inputs = {"doubled": (doubled,), "number": (number,)}
    both = Stage("both", 1, toy.Total("toy"), "tests.support.toy:total", inputs, code=CodePolicy.UPSTREAM)
    directory = checkout.store.prepare(both)
    assert run_stage([str(directory.path)]) == 0
    remade = checkout.store.directory(number)
    before, record = remade.digest, remade.read_record()
    supersede(remade, 0)
    attempt = begin(remade)
    (attempt.out / "number.json").write_text("5", encoding="utf-8")
    attempt.publish(record)
    supersede(directory, 0)
    checkout.store.prepare(both)
    assert run_stage([str(directory.path)]) == 1
    message = read_json(directory.failed_file)["message"]
    assert f"made from {number.address}@{before[:4]}, which is @{remade.digest[:4]} now" in message
    assert "redo=doubled" in message


@pytest.mark.slow
def test_the_plan_names_the_files_by_which_the_nearest_code_differs(checkout: Checkout) -> None:
    """Not those of code that was tried in between and given up."""
    checkout.edit("value = sum(", "value = 1 + sum(")
    checkout.run()
    checkout.edit("value = 1 + sum(", "value = sum(")
    (checkout.code / "tests/support/more.py").write_text("ONE = 1\n", encoding="utf-8")
    checkout.edit("value = sum(", "from tests.support import more\n    value = more.ONE + sum(")
    checkout.run()
    (checkout.code / "tests/support/more.py").write_text("ONE = 2\n", encoding="utf-8")
    tried = checkout.directory("total")
    os.utime(tried.record_file, (0, 0))  # the one before it is the newest now
    assert "code changed (tests/support/more.py), 1 stage" in checkout.run("plan=true")


def test_records_and_manifest_name_digests_of_what_was_read_and_made(finished: Checkout) -> None:
    inputs = known(finished.directory("total").read_record().get("inputs"))
    stages = finished.manifest()["stages"]
    assert {address: stages[address]["digest"] for address in inputs} == inputs
    assert len(inputs) == 2
    for address, digest in inputs.items():
        assert digest == StageDirectory(finished.store.root / address).digest
    assert shortened("scores/41687fbbc3b5@9c1f0a2b3c4d") == "scores/41687fbbc3b5@9c1f"


def test_a_copied_store_has_a_name_of_its_own(checkout: Checkout, tmp_path: Path) -> None:
    name = checkout.store.id
    assert len(name) == 16 and checkout.store.id == name
    shutil.copytree(checkout.store.root, tmp_path / "copy", symlinks=True)
    copy = Store(tmp_path / "copy")
    assert copy.id != name and copy.id == copy.id
    assert checkout.store.id == name
