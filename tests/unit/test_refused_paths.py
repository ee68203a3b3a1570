"""Paths that cannot be used: one line with the field or the path, and from Python only the promised exceptions."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import s1
from sweep.core.provenance import PROJECT
from sweep.store.permission import explained

A_FILE = r"is not a folder, but a folder is needed here\. Move it away"


def sweep(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PROJECT), "HOME": str(folder), "COLUMNS": "80"}
    command = [sys.executable, "-m", "sweep", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "a.py").write_text("mine", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: s1.plan("smoke", "store=a.py"), rf"store a\.py: .*/a\.py {A_FILE}"),
        (lambda: s1.run("smoke", "store=a.py/in"), rf"store a\.py/in: .*/a\.py {A_FILE}"),
        (lambda: s1.plan("smoke", "results=a.py"), rf"results a\.py: .*/a\.py {A_FILE}"),
        (lambda: s1.plan("smoke", 'store="~nouser/x"'), r"store ~nouser/x: no such user\. "),
        (lambda: s1.plan("smoke", "store=null"), r"store None: not a path\. Give it a value\."),
        (lambda: s1.load("~nouser/x"), r"path ~nouser/x: no such user\. "),
        (lambda: s1.load("x", store="~nouser"), r"store ~nouser: no such user\. "),
        (lambda: s1.load("a" * 300), r"/[^ ]*aaa/manifest.json: the name is too long\. "),
        (lambda: s1.load("a\0b"), r"path 'a\\x00b': contains a null character\. "),
        (lambda: s1.load(3), r"path 3: not a path\. "),  # pyright: ignore[reportArgumentType]
        (lambda: s1.plan(Path("smoke")), r"experiment .*: not a name\. "),  # pyright: ignore[reportArgumentType]
    ],
)
def test_from_python_it_is_an_input_error_in_one_line(call: Callable[[], object], says: str, home: Path) -> None:
    with pytest.raises(s1.InputError, match=f"^{says}") as refused:
        call()
    assert len(str(refused.value).splitlines()) == 1
    assert [path.name for path in home.iterdir()] == ["a.py"]


@pytest.mark.parametrize("words", [["store", "--store", "~nouser/x"], ["results", "--results", "~nouser/x"]])
def test_on_the_command_line_a_user_who_does_not_exist_is_named_with_the_field(words: list[str], home: Path) -> None:
    done = sweep(home, *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(rf"error {words[1][2:]} ~nouser/x: no such user\. [^\n]*\n", done.stderr)


@pytest.mark.parametrize("words", [["store", "check", "--store", "a.py"], ["results", "--results", "a.py"]])
def test_a_file_in_place_of_a_folder_is_an_error(words: list[str], home: Path) -> None:
    done = sweep(home, *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(rf"error {words[-2][2:]} a\.py: .*/a\.py {A_FILE}[^\n]*\n", done.stderr)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc, where no folder can be made")
def test_errors_of_the_file_system_are_explained_without_their_number(home: Path) -> None:
    for path, says in (
        (Path("/proc/x"), "/proc/x: cannot be opened or made, no such file or folder. Check the path."),
        (home / ("a" * 300), f"{home}/{'a' * 300}: the name is too long. Choose a shorter one."),
    ):
        with pytest.raises(OSError) as refused:
            path.mkdir()
        assert explained(refused.value) == says
    text = "no answer"  # an OSError of a library, without a number
    assert explained(ConnectionError(text)) == text


def test_a_working_directory_that_was_removed_is_named(home: Path) -> None:
    command = f'mkdir gone && cd gone && rmdir ../gone && exec "{sys.executable}" -m sweep results --store /tmp/store'
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PROJECT), "HOME": str(home)}
    done = subprocess.run(["sh", "-c", command], cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error working directory: it was removed. ") and done.stderr.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_explained(home: Path) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "sweep", "--help"]
        done = subprocess.run(command, cwd=PROJECT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error a file or the output of this command: no space left on the device. ")
    assert done.stderr.count("\n") == 1
