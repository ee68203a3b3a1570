"""From a command line to typed points."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from sweep.config.compose import Composition, compose
from sweep.core.provenance import PROJECT
from sweep.errors import InputError
from sweep.places import shipped

CONFIG = PROJECT / "tests" / "support" / "toy_conf"


def points(*argv: str) -> Composition:
    return compose(argv, CONFIG)


def numbers(composition: Composition) -> list[int]:
    return [point.shape.number for point in composition.points]


def test_one_command_without_axes_is_one_point() -> None:
    assert numbers(points()) == [1]
    assert points("shape=two").request.values == ({},)


def test_axes_of_the_command_line_multiply() -> None:
    composition = points("shape=one,two", "fail_at=7,8", "-m")
    assert [(point.shape.number, point.fail_at) for point in composition.points] == [
        (1, 7),
        (1, 8),
        (2, 7),
        (2, 8),
    ]
    assert composition.request.values[2] == {"shape": "two", "fail_at": 7}


def test_an_experiment_declares_axes_and_points_beside_them() -> None:
    composition = points("+experiment=grid", "-m")
    assert numbers(composition) == [3, 4, 5, 100, 2]
    assert composition.request.values[4] == {"shape.number": 2, "shape": "two", "shape.pause_s": 0.5}


def test_the_command_line_replaces_an_axis_and_the_points_that_set_it() -> None:
    assert numbers(points("+experiment=grid", "shape.number=7,8", "-m")) == [7, 8, 2]


def test_a_field_fixed_on_the_command_line_is_not_an_axis() -> None:
    assert numbers(points("+experiment=grid", "shape.number=9", "-m")) == [9, 9]


def test_without_multirun_an_experiment_is_its_base_point() -> None:
    assert numbers(points("+experiment=grid")) == [1]


def test_relative_stores_and_results_are_relative_to_the_working_directory_and_absolute_ones_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    entry = points("store=mine/store").entry
    assert (entry.store, entry.results) == (tmp_path / "mine" / "store", tmp_path / "results")
    assert points(f"store={tmp_path}").entry.store == tmp_path


def own_file(folder: Path, name: str, text: str) -> None:
    path = folder / "conf" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_a_conf_where_one_works_adds_experiments_and_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own_file(
        tmp_path, "experiment/mine.yaml", "# @package _global_\ndefaults:\n  - override /shape: five\n  - _self_\n"
    )
    own_file(tmp_path, "shape/five.yaml", "number: 5\n")
    assert numbers(points("+experiment=mine")) == [5]
    assert numbers(points("shape=five,two", "-m")) == [5, 2]
    monkeypatch.chdir("/")
    with pytest.raises(InputError, match="five"):
        points("shape=five")


def test_a_conf_where_one_works_replaces_no_shipped_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = (shipped("conf") / "train" / "s1.yaml").read_text(encoding="utf-8")
    own_file(tmp_path, "train/s1.yaml", content)
    assert numbers(points()) == [1]  # the same bytes: nothing is replaced
    own_file(tmp_path, "train/s1.yaml", f"{content}\n# mine\n")
    with pytest.raises(InputError, match=r"conf/train/s1\.yaml: the package ships a file of that name with different"):
        points()


def test_a_resolver_in_a_file_of_ones_own_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own_file(tmp_path, "shape/leaky.yaml", "number: ${oc.env:HOME}\n")
    with pytest.raises(InputError, match=r"oc\.env:.*conf/shape/leaky\.yaml is refused"):
        points("shape=leaky")


def test_the_command_is_what_makes_the_points_and_not_where_they_are_kept(tmp_path: Path) -> None:
    request = points("+experiment=grid", "shape=two", "fail_at=3", f"store={tmp_path}", "-m").request
    assert request.command == "python -m sweep +experiment=grid shape=two fail_at=3 -m"


def test_mappings_replace_one_another_and_are_not_merged() -> None:
    composition = points("shape={number:7},{pause_s:1.0}", "-m")
    assert [(point.shape.number, point.shape.pause_s) for point in composition.points] == [(7, 0.0), (1, 1.0)]


def test_a_log_spaced_axis_has_both_ends_and_rises() -> None:
    dense = numbers(points("shape.number=geomspace(8,256,32)", "-m"))
    assert len(dense) == 32
    assert (dense[0], dense[-1]) == (8, 256)
    assert dense == sorted(set(dense))
    assert all(abs(later / earlier - 32 ** (1 / 31)) <= 1.01 / earlier for earlier, later in pairwise(dense))


def test_an_experiment_declares_a_log_spaced_axis_and_the_command_line_replaces_it() -> None:
    assert numbers(points("+experiment=dense", "-m")) == [1, 2, 4, 8, 16]
    assert numbers(points("+experiment=dense", "shape.number=geomspace(1,100,points=3)", "-m")) == [1, 10, 100]


def test_the_command_keeps_the_rule_of_an_axis_and_not_its_values() -> None:
    assert points("shape.number=geomspace(1,16,5)", "-m").request.command == (
        "python -m sweep 'shape.number=geomspace(1,16,5)' -m"
    )


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["shape.number=x"], "shape.number 'x': input should be a valid integer"),
        (["shape.number=-1"], "shape.number -1: negative. Use 0 or more."),
        (["shape.number=1,-2,-3", "-m"], "shape.number -2: negative. Use 0 or more.\nshape.number -3: negative."),
        (["shape.nummer=1"], "shape.nummer: no such field. Did you mean shape.number?"),
        (["+shape.nummer=1"], "shape.nummer: no such field. Did you mean shape.number?"),
        (["shape.number=1,2"], "shape.number=1,2: a field with several values makes the command a sweep. Add -m."),
        (["+experiment=grid,plain", "-m"], "a command takes one experiment"),
        (["+experiment=grid", "+experiment=plain"], "a command takes one experiment"),
        (["shape=three"], "shape three: no such option."),
        (["+experiment=nope"], "experiment nope: no such option."),
        (["shape.number"], "shape.number"),
        (
            ["shape.number=geomspace(1,16,5)"],
            "shape.number=geomspace(1,16,5): a field with several values makes the command a sweep. Add -m.",
        ),
        (["shape.number=geomspace(2,9,9)", "-m"], "geomspace(2,9,9): only 7 different whole numbers. Ask for fewer"),
        (["shape.number=geomspace(0,16,5)", "-m"], "geomspace(0,16,5): a log scale starts above 0. Raise the low end."),
        (["shape.number=geomspace(-4,16,5)", "-m"], "geomspace(-4,16,5): a log scale starts above 0."),
        (["shape.number=geomspace(16,4,5)", "-m"], "geomspace(16,4,5): not an increasing axis."),
        (["shape.number=geomspace(1,16,1)", "-m"], "geomspace(1,16,1): not an increasing axis."),
        (["shape.number=geomspace(1,16.5,3)", "-m"], "geomspace(1,16.5,3): not whole numbers."),
        (["shape.number=geomspace(1,16)", "-m"], "missing a required argument: 'points'"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line_each(argv: list[str], complaint: str) -> None:
    with pytest.raises(InputError) as refused:
        points(*argv)
    assert complaint in str(refused.value)


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["+=x"], "+=x: names no field. Write FIELD=VALUE."),
        (["=x"], "=x: names no field."),
        (["++"], "++: names no field."),
        (["also=['+=x']", "-m"], "also '+=x': +=x: names no field."),
        (["shape=null"], "shape=null: not the name of an option. Known here: one, two."),
        (["shape=one,null", "-m"], "shape=null: not the name of an option."),
        (["+experiment=null"], "+experiment=null: not the name of an option. Known here: "),
        (["fail_at=range(1,2,0)", "-m"], "fail_at=range(1,2,0): a range with step 0 never ends."),
        (["fail_at=range(1,1000000000)", "-m"], "fail_at=range(1,1000000000): 999999999 points. Give at most 10000."),
        (["fail_at=range(0,inf)", "-m"], "fail_at=range(0,inf): inf points. Give at most 10000."),
        (
            ["fail_at=geomspace(1,4000000000,1000000000)", "-m"],
            "geomspace(1,4000000000,1000000000): 1000000000 points.",
        ),
        (["fail_at=range(200)", "shape.number=range(200)", "-m"], "fail_at, shape.number: 40000 points. Give at most"),
        (["also=['fail_at=range(1,1000000000)']", "-m"], "fail_at=range(1,1000000000): 999999999 points."),
        (["fail_at=interval(0,1)", "-m"], "fail_at=interval(0,1): an interval has no list of values. Use range"),
        (["fail_at=int(x)"], "fail_at=int(x): invalid literal for int() with base 10: 'x'. Correct the call, or quote"),
        (["fail_at=foo(1)"], "fail_at=foo(1): no such function foo. Known here: bool, choice,"),
        (["fail_at=${fail_at}"], "fail_at=${fail_at}: fail_at refers to itself. Write the value."),
        (["fail_at=${nope}"], "fail_at=${nope}: fail_at reads nope, which does not exist."),
        (["fail_at=${nope"], "fail_at=${nope: cannot be read. Close its quotes and brackets"),
        (["redo=1,"], "redo=[1,]: an item of the list is empty. Remove the comma."),
        (["fail_at.x=1"], "fail_at.x=1: fail_at has no fields. Set fail_at itself."),
        (["+results=x"], "+results=x: results is set already. Write results=x."),
        (["++shape=one"], "++shape=one: shape is set already. Write shape=one."),
        (["also=['fail_at=${nope}']", "-m"], "also=['fail_at=${nope}']: also[0] reads nope, which does not exist."),
        (["hydra.foo=1"], "hydra.foo=1: no such Hydra setting."),
        (["pipeline=s1"], "pipeline s1: not a pipeline: it has no graph."),
        (["pipeline=s1.api"], "pipeline s1.api: not a pipeline: it has no graph."),
    ],
)
def test_what_hydra_refuses_is_one_line_that_begins_with_what_was_typed(argv: list[str], complaint: str) -> None:
    with pytest.raises(InputError) as refused:
        points(*argv)
    assert str(refused.value).startswith(complaint)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("defaults: 3\n", "{path}: Invalid defaults list in 'experiment/mine', defaults must be a list (got int)."),
        ("defaults:\n  - mine\n", "{path}: its defaults list leads back to itself. Remove that entry."),
        (
            "defaults:\n  - override /shape: nope\n",
            "shape nope: no such option. Did you mean one? Known here: one, two.",
        ),
        ("defaults:\n  - /shap: nope\n", "experiment/mine: shap nope: no such option."),
        ("defaults:\n  - override /shap: one\n", "{path}: shap: no such field there."),
        ("fail_at: ${nope}\n", "{path}: fail_at reads nope, which does not exist."),
        ("fail_at: ${nope\n", "{path}: fail_at has an interpolation that cannot be read."),
        ("3: x\n", "3: no such field."),
        ("claim: caf\xe9\n", "{path}: not UTF-8: "),
        ("claim: a\0b\n", "{path}: not YAML: special characters are not allowed. Correct the file."),
    ],
)
def test_a_fault_in_a_file_of_ones_own_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    own_file(tmp_path, "experiment/mine.yaml", "")
    path = tmp_path / "conf" / "experiment" / "mine.yaml"
    path.write_bytes(f"# @package _global_\n{content}".encode("latin-1"))
    with pytest.raises(InputError) as refused:
        points("+experiment=mine")
    assert str(refused.value).startswith(complaint.format(path=path))
    assert len(str(refused.value).splitlines()) == 1


def test_an_experiment_without_its_first_line_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own_file(tmp_path, "experiment/mine.yaml", "fail_at: 3\n")
    with pytest.raises(InputError, match=r"^experiment mine: its file does not begin with `# @package _global_`"):
        points("+experiment=mine")


def test_a_thousand_points_are_all_there() -> None:
    composition = points("shape.number=range(1000)", "-m")
    assert numbers(composition) == list(range(1000))
