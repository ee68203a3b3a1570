"""The source cache gives the same result as reading the source, whatever happens to files and cache."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s1 import pipeline
from sweep.config.compose import compose
from sweep.plan.graph import plan
from sweep.source import memo
from sweep.source.digest import SourceError, read_source
from sweep.source.file_answers import FileAnswers
from sweep.source.memo import remembered_source

FILES = {
    "__init__.py": "",
    "main.py": (
        "import math\nimport pkgutil\nfrom lab import tools, ways\nfrom lab.parts import scale\n"
        "try:\n    from lab.extra import more\nexcept ImportError:\n    more = None\n\n\n"
        "def run(work):\n    page, spare = 'page.txt', 'spare.txt'\n"
        "    return more or scale(tools.add(1)) + math.floor(len(list(pkgutil.iter_modules(ways.__path__))))\n"
    ),
    "parts.py": "FACTOR = 2\n\n\ndef scale(x):\n    return x * FACTOR\n",
    "tools.py": "def add(x):\n    return x + 1\n",
    "page.txt": '{% include "foot.txt" %}',
    "ways/__init__.py": "",
    "ways/one.py": "WAY = 1\n",
}
ROOTS = ("lab.main:run",)
Lab = Path  # the folder that the package `lab` is in


def write(lab: Lab, name: str, text: str) -> None:
    path = lab / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield tmp_path / "cache" / memo.FOLDER
    remembered_source.cache_clear()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    for name, text in FILES.items():
        write(tmp_path / "home", f"lab/{name}", text)
    return tmp_path / "home"


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The roots whose source was read from the files."""
    found = []

    def reading(roots: tuple[str, ...], *rest: Any) -> Mapping[str, str]:
        found.append(roots)
        return read_source(roots, *rest)

    monkeypatch.setattr(memo, "read_source", reading)
    return found


def remembered(lab: Lab, roots: tuple[str, ...] = ROOTS) -> Mapping[str, str]:
    """As the next process finds it."""
    remembered_source.cache_clear()
    return remembered_source(roots, home=lab)


def read(lab: Lab) -> Mapping[str, str]:
    return read_source(ROOTS, lab, (), FileAnswers())


def test_unchanged_files_are_not_read_again(lab: Lab, readings: list[object]) -> None:
    first = remembered(lab)
    os.utime(lab / "lab" / "main.py", ns=(1, 1))  # times do not count
    write(lab, "lab/beside.py", "ANOTHER = 1\n")  # nor what nothing asks for
    assert list(remembered(lab).items()) == list(first.items()) == list(read(lab).items())
    assert len(readings) == 1
    assert set(first) == {f"lab/{name}" for name, text in FILES.items() if text}


def edited(name: str, old: str, new: str) -> Callable[[Lab], None]:
    def edit(lab: Lab) -> None:
        text = (lab / name).read_text(encoding="utf-8")
        assert old in text
        (lab / name).write_text(text.replace(old, new), encoding="utf-8")

    return edit


def edited_behind_the_clock(lab: Lab) -> None:
    """As many bytes, and the times of before."""
    path = lab / "lab" / "parts.py"
    before = path.stat()
    edited("lab/parts.py", "FACTOR = 2", "FACTOR = 3")(lab)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def written(name: str, text: str) -> Callable[[Lab], None]:
    return lambda lab: write(lab, name, text)


def removed(name: str) -> Callable[[Lab], None]:
    return lambda lab: (lab / name).unlink()


def made_a_package(lab: Lab) -> None:
    text = (lab / "lab" / "tools.py").read_text(encoding="utf-8")
    write(lab, "lab/tools/__init__.py", text.replace("+ 1", "+ 2"))


def linked_elsewhere(lab: Lab) -> None:
    """The same bytes under another name in the project."""
    (lab / "lab" / "page.txt").rename(lab / "lab" / "text.txt")
    (lab / "lab" / "page.txt").symlink_to("text.txt")


@pytest.mark.parametrize(
    "change",
    [
        edited("lab/main.py", "scale(tools.add(1))", "scale(tools.add(2))"),
        edited("lab/tools.py", "x + 1", "x + 2"),
        edited_behind_the_clock,
        edited("lab/page.txt", "{%", "The page {%"),
        edited("lab/__init__.py", "", "print('imported')\n"),
        written("lab/foot.txt", "a template that a template includes"),
        written("lab/spare.txt", "a data file that was not there"),
        written("lab/ways/two.py", "WAY = 2\n"),  # a package whose modules are listed
        written("lab/extra.py", "more = 3\n"),  # a module that was looked for and not there
        written("math.py", "def floor(x):\n    return x\n"),  # one in front of the library's
        removed("lab/parts.py"),
        removed("lab/ways/one.py"),
        removed("lab/page.txt"),
        made_a_package,
        linked_elsewhere,
    ],
)
def test_every_change_of_what_is_reached_or_was_looked_for_is_seen_at_once(
    lab: Lab, change: Callable[[Lab], None]
) -> None:
    before = remembered(lab)
    change(lab)
    assert remembered(lab) == read(lab) != before
    assert remembered(lab) == read(lab)


def test_a_function_that_is_gone_is_not_remembered(lab: Lab) -> None:
    remembered(lab)
    edited("lab/main.py", "def run(", "def ran(")(lab)
    with pytest.raises(SourceError, match=r"lab\.main:run: no such function"):
        remembered(lab)


def test_a_package_that_is_found_elsewhere_is_read_there(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sweep.source import file_answers

    def installed() -> Mapping[str, str]:
        file_answers._home_of_package.cache_clear()  # known once in a process
        remembered_source.cache_clear()
        return remembered_source(ROOTS)

    monkeypatch.syspath_prepend(str(lab))
    before = installed()
    shutil.copytree(lab, tmp_path / "other")
    edited("lab/parts.py", "FACTOR = 2", "FACTOR = 3")(tmp_path / "other")
    monkeypatch.syspath_prepend(str(tmp_path / "other"))
    assert installed() == read(tmp_path / "other") != before
    file_answers._home_of_package.cache_clear()


@pytest.mark.parametrize(("module", "name"), [(sys, "version"), (memo, "READER")])
def test_another_python_or_another_reader_reads_anew(
    lab: Lab, readings: list[object], monkeypatch: pytest.MonkeyPatch, module: object, name: str
) -> None:
    remembered(lab)
    monkeypatch.setattr(module, name, "another")
    remembered(lab)
    remembered(lab)
    assert len(readings) == 2


@pytest.mark.slow
def test_any_damaged_byte_of_the_cache_leaves_the_result_the_same(lab: Lab, cache: Path) -> None:
    expected = remembered(lab)
    (entry,) = cache.iterdir()
    whole = entry.read_bytes()
    for at in range(0, len(whole), 5):
        for damaged in (
            whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :],
            whole[:at],
            whole[:at] + bytes(9) + whole[at + 9 :],
        ):
            entry.write_bytes(damaged)
            assert remembered(lab) == expected
    entry.write_text('{"files": {}, "answers": {}}')  # one that no seal vouches for
    assert remembered(lab) == expected
    assert entry.read_bytes() == whole  # written anew


def test_a_cache_that_cannot_be_written_is_done_without(
    lab: Lab, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert remembered(lab) == remembered(lab) == read(lab)
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", "/proc/1/nobody")  # where nobody can make a folder
    assert remembered(lab) == remembered(lab) == read(lab)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent))
    remembered(lab)
    (entry,) = cache.iterdir()
    entry.unlink()
    (entry / "inside").mkdir(parents=True)
    assert remembered(lab) == remembered(lab) == read(lab)


def test_the_newest_entries_are_kept(
    lab: Lab, cache: Path, readings: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memo, "MAX_ENTRIES", 2)
    several = [ROOTS, ("lab.tools:add",), ("lab.parts:scale",)]
    for at, roots in enumerate(several):
        remembered(lab, roots)
        newest = max(cache.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, ns=(at, at))  # on file systems whose clock is coarse too
    assert len(list(cache.iterdir())) == 2
    remembered(lab, several[2])
    remembered(lab, several[1])
    assert readings == several
    remembered(lab, several[0])
    assert readings == [*several, several[0]]


TEXTS = {
    "lab/main.py": [
        FILES["main.py"],
        FILES["main.py"].replace("add(1)", "add(2)"),
        "from lab.parts import *\nrun = scale\n",
    ],
    "lab/parts.py": [
        FILES["parts.py"],
        "from lab.extra import more as scale\n",
        "scale = __import__('lab.tools')\n",
        None,
    ],
    "lab/extra.py": ["more = 1\n", "from lab import ways\nmore = ways\n", None],
    "lab/tools.py": [FILES["tools.py"], "from lab.extra import more as add\n", "def add(:\n", None],
    "lab/ways/two.py": ["WAY = 2\n", "names = globals()\n", None],
    "lab/page.txt": [FILES["page.txt"], '{% include "spare.txt" %}', None],
    "lab/foot.txt": ["the end", "END", None],
}
CHANGE = st.sampled_from([(name, text) for name, texts in TEXTS.items() for text in texts])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(CHANGE, min_size=1, max_size=6))
def test_after_any_changes_it_is_what_reading_gives(lab: Lab, changes: list[tuple[str, str | None]]) -> None:
    for name, text in changes:
        if text is None:
            (lab / name).unlink(missing_ok=True)
        else:
            write(lab, name, text)
        try:
            expected = read(lab)
        except SourceError as error:
            with pytest.raises(SourceError, match=str(error).split()[0]):
                remembered(lab)
        else:
            assert remembered(lab) == expected


def test_for_all_stages_of_a_scan_it_is_what_reading_gives(readings: list[object]) -> None:
    composition = compose(["+experiment=smoke", "-m"])
    graph = pipeline.graph(composition.points, composition.request)
    every = {stage.roots for stage in plan([graph.artifact], lambda stage: False).needed}
    expected = {roots: read_source(roots, None, (), FileAnswers()) for roots in every}
    for _ in range(2):
        remembered_source.cache_clear()
        assert {roots: remembered_source(roots) for roots in every} == expected
    assert set(readings) >= every and len(readings) == len(set(readings))
