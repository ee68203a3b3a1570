"""A dotted name from a file is imported only from this project, and called only if it is of the right kind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sweep.config.compose import pipeline_of
from sweep.core.identity import key_of
from sweep.core.provenance import PROJECT
from sweep.core.stage import CodePolicy, Stage
from sweep.core.targets import function_of, schema_of
from sweep.errors import InputError
from sweep.store.directory import StageDirectory, Store
from tests.support import toy


def test_functions_and_schemas_of_the_project_are_found() -> None:
    assert function_of("tests.support.toy:number") is toy.number
    assert schema_of("tests.support.toy:Double") is toy.Double
    assert function_of("s1.models.location:materialise").__name__ == "materialise"


@pytest.mark.parametrize(
    "target",
    [
        *("os:system", "posix:system", "subprocess:run", "shutil:rmtree", "builtins:exec", "runpy:run_path"),
        *("yaml:unsafe_load", "pytest:main", "antigravity:geohash", "tests.support.toy:os", "tests.support.toy:json"),
        *("tests.support.toy:dataclass", "tests.support.toy:Double", "tests.support.toy:nope", "tests.support.nope:x"),
        *("tests.support.toy:number.__globals__", "tests.support.toy", "", ":", "../x:y", "a b:c", "s1:x"),
    ],
)
def test_other_functions_are_refused(target: str) -> None:
    with pytest.raises(InputError) as refused:
        function_of(target)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("target", ["subprocess:Popen", "subprocess:run", "os:system", "tests.support.toy:number"])
def test_a_schema_is_a_dataclass(target: str) -> None:
    """Pydantic would call a function with the config as its arguments."""
    with pytest.raises(InputError):
        schema_of(target)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("os", "pipeline os: not part of this project, so it is not imported. Name a module of s1"),
        ("os.path", "pipeline os.path: not part of this project"),
        ("yaml", "pipeline yaml: not part of this project"),
        (
            "s1.config.schema",
            "pipeline s1.config.schema: not a pipeline: it has no graph. Name one, such as s1.pipeline.",
        ),
        ("s1.nope", "pipeline s1.nope: no such module."),
        ("nowhere", "pipeline nowhere: no such module."),
        ("../x", "pipeline ../x: no such module."),
        ("", "pipeline : no such module."),
    ],
)
def test_a_pipeline_is_a_module_of_ours_with_a_graph(name: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        pipeline_of(name, "graph")
    assert str(refused.value).startswith(said)


def test_nothing_of_a_refused_module_runs(tmp_path: Path) -> None:
    """Installed beside the libraries, it is found and not imported."""
    place = tmp_path / "site-packages"
    (place / "stranger").mkdir(parents=True)
    (place / "stranger" / "__init__.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n", encoding="utf-8")
    code = f"import sys; sys.path.append({str(place)!r}); "
    code += "from sweep.config.compose import pipeline_of; pipeline_of('stranger')"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert "InputError: pipeline stranger: not part of this project" in done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"run": "os:system", "config_type": "tests.support.toy:Double"},
        {"run": "tests.support.toy:number", "config_type": "os:system"},
        {"run": "tests.support.toy:number", "config_type": "subprocess:run"},
    ],
)
def test_a_stage_that_names_a_command_of_the_system_fails_and_does_not_run_it(
    tmp_path: Path, change: dict[str, str]
) -> None:
    store = Store(tmp_path / "store")
    stage = Stage("number", 1, toy.Double(1), "tests.support.toy:number", code=CodePolicy.UPSTREAM)
    store.prepare(stage)
    directory = store.directory(stage)
    path = directory.path / "stage.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    command = f"touch {tmp_path / 'ran'}"
    if "toy" not in change["config_type"]:
        content["identity"]["config"] = {"command": command, "args": command, "shell": True}
    path.write_text(json.dumps({**content, **change}), encoding="utf-8")
    directory = StageDirectory(directory.path.rename(directory.path.with_name(key_of(content["identity"]))))
    done = subprocess.run(
        [sys.executable, "-m", "sweep.worker.run", str(directory.path)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "is not imported" in json.loads(directory.failed_file.read_text(encoding="utf-8"))["message"]
    assert not (tmp_path / "ran").exists() and not directory.is_done
