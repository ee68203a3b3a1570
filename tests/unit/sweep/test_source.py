"""The source that a function can reach, and the edits that change its digest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from sweep.source.digest import SourceError, changed_files, digest_of_source, source_of

MAIN = '''
"""A module."""
from __future__ import annotations
import math
from typing import TYPE_CHECKING
from lab.parts import scale, unused
from lab import tools
if TYPE_CHECKING:
    from lab.types import Big

LIMIT = 3  # of something
OTHER = 4


def run(work: Big) -> int:
    """The stage."""
    page = "page.txt"
    return scale(LIMIT) + tools.add(1) + math.floor(2.5)


def beside() -> int:
    return OTHER


run_all = [unused]
'''
PARTS = """
FACTOR = 2
SPARE = 5


def scale(x):
    return x * FACTOR


def unused(x):
    return SPARE
"""
TOOLS = "def add(x):\n    return _inner(x)\n\n\ndef _inner(x):\n    return x + 1\n\n\ndef remove(x):\n    return x\n"


class Lab:
    """A project of its own, whose files are changed."""

    def __init__(self, home: Path) -> None:
        self.home, self.copies = home, 0
        self.files = {
            "main.py": MAIN,
            "parts.py": PARTS,
            "tools.py": TOOLS,
            "types.py": "class Big: ...\n",
            "page.txt": "Hello",
            "__init__.py": "",
        }

    def source(self, *roots: str) -> Mapping[str, str]:
        """Read from a fresh copy: what was read once is not read again in a process."""
        self.copies += 1
        home = self.home / str(self.copies)
        for name, text in self.files.items():
            path = home / "lab" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return source_of(roots or ("lab.main:run",), home=home)

    def edit(self, name: str, old: str, new: str) -> None:
        assert old in self.files[name]
        self.files[name] = self.files[name].replace(old, new)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_it_reaches_what_it_uses_and_the_files_it_names(lab: Lab) -> None:
    assert set(lab.source()) == {"lab/main.py", "lab/parts.py", "lab/tools.py", "lab/page.txt"}


def test_a_root_after_a_minus_and_what_only_it_reaches_are_left_out(lab: Lab) -> None:
    found = lab.source("lab.main:run", "-lab.tools:add")
    assert "lab/tools.py" not in found
    assert found["lab/parts.py"] == lab.source()["lab/parts.py"]


def test_the_place_of_the_checkout_does_not_matter(lab: Lab) -> None:
    assert lab.source() == lab.source()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("main.py", "# of something", "# of something else"),
        ("main.py", '"""The stage."""', '"""Another docstring,\n    of two lines."""'),
        ("main.py", "LIMIT = 3", "\n\n\nLIMIT = (\n    3\n)"),
        ("main.py", "def run(work: Big) -> int", "def run(work: object) -> float"),
        ("main.py", "OTHER = 4", "OTHER = 5"),
        ("main.py", "import math\n", "import math\nimport os\n"),
        ("parts.py", "return SPARE", "return SPARE + 1"),
        ("tools.py", "return x\n", "return -x\n"),
        ("tools.py", TOOLS, TOOLS[TOOLS.index("def _inner") :] + "\n\n" + TOOLS[: TOOLS.index("def _inner")]),
        ("types.py", "class Big: ...", "class Big:\n    size = 1"),
    ],
)
def test_edits_without_effect_do_not_change_the_key(lab: Lab, name: str, old: str, new: str) -> None:
    before = lab.source()
    lab.edit(name, old, new)
    assert lab.source() == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("main.py", "LIMIT = 3", "LIMIT = 4"),
        ("main.py", "2.5", "3.5"),
        ("main.py", "import math", "import cmath as math"),
        ("parts.py", "FACTOR = 2", "FACTOR = 3"),
        ("parts.py", "SPARE = 5", "SPARE = 5\nFACTOR += 1"),
        ("parts.py", "SPARE = 5", "SPARE = 5\nprint('imported')"),
        ("tools.py", "x + 1", "x + 2"),
        ("page.txt", "Hello", "Hullo"),
    ],
)
def test_changed_computations_change_the_key_and_name_their_file(lab: Lab, name: str, old: str, new: str) -> None:
    before = lab.source()
    lab.edit(name, old, new)
    assert changed_files(before, lab.source()) == [f"lab/{name}"]
    assert digest_of_source(before) != digest_of_source(lab.source())


def test_a_template_that_a_template_includes_counts(lab: Lab) -> None:
    lab.files |= {"page.txt": '{% include "foot.txt" %}', "foot.txt": "the end"}
    assert "lab/foot.txt" in lab.source()


@pytest.mark.parametrize(
    "body",
    [
        "return getattr(tools, 're' + 'move')(1)",
        "return vars(tools)['remove'](1)",
        "from lab import tools as mine\n    return mine.remove(1)",
        "from lab.tools import remove\n    return remove(1)",
        "import importlib\n    return importlib.import_module('lab.tools')",
    ],
)
def test_what_is_looked_up_when_it_runs_counts_as_a_whole(lab: Lab, body: str) -> None:
    lab.edit("main.py", "return scale(LIMIT) + tools.add(1) + math.floor(2.5)", body)
    before = lab.source()
    lab.edit("tools.py", "return x\n", "return -x\n")
    assert changed_files(before, lab.source()) == ["lab/tools.py"]


def test_a_module_that_looks_up_its_own_names_counts_as_a_whole(lab: Lab) -> None:
    lab.edit("parts.py", "return x * FACTOR", "return globals()[f'un{x}'](x)")
    before = lab.source()
    lab.edit("parts.py", "SPARE = 5", "SPARE = 6")
    assert changed_files(before, lab.source()) == ["lab/parts.py"]


def test_a_package_whose_modules_are_listed_counts_as_a_whole(lab: Lab) -> None:
    lab.files |= {"ways/__init__.py": "", "ways/one.py": "WAY = 1\n"}
    lab.edit("main.py", "import math\n", "import math\nimport pkgutil\nfrom lab import ways\n")
    lab.edit("main.py", "math.floor(2.5)", "len(list(pkgutil.iter_modules(ways.__path__)))")
    before = lab.source()
    lab.files["ways/two.py"] = "WAY = 2\n"
    assert changed_files(before, lab.source()) == ["lab/ways/two.py"]


def test_what_a_decorator_of_the_project_registers_counts(lab: Lab) -> None:
    lab.files["registry.py"] = "KNOWN = {}\n\n\ndef register(f):\n    KNOWN[f.__name__] = f\n    return f\n"
    lab.edit("parts.py", "def unused", "@register\ndef unused")
    lab.files["parts.py"] = "from lab.registry import register\n" + lab.files["parts.py"]
    before = lab.source()
    lab.edit("parts.py", "SPARE = 5", "SPARE = 6")
    assert changed_files(before, lab.source()) == ["lab/parts.py"]


def test_a_local_name_is_not_the_module_s(lab: Lab) -> None:
    lab.edit("main.py", "def beside() -> int:", "def beside(scale=1) -> int:\n    scale += 1")
    assert set(lab.source("lab.main:beside")) == {"lab/main.py"}


def test_a_function_that_is_not_there_and_a_file_that_is_no_python_are_refused(lab: Lab) -> None:
    with pytest.raises(SourceError, match=r"lab\.main:gone: no such function"):
        lab.source("lab.main:gone")
    with pytest.raises(SourceError, match=r"nobody:makes: no such function"):
        source_of(("nobody:makes",))
    lab.files["tools.py"] = "def add(:\n"
    with pytest.raises(SourceError, match=r"tools.py line 1: not Python"):
        lab.source()
