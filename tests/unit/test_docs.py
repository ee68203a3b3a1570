"""The documentation is true: commands plan, Python runs, links lead somewhere, the reference is complete."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from s1 import pipeline
from sweep.compose import CONFIG, compose
from sweep.plan import plan

PROJECT = Path(__file__).resolve().parents[2]
PAGES = sorted((PROJECT / "docs").glob("*.md"))
TEXTS = [*PAGES, *(PROJECT / name for name in ("README.md", "LOG.md"))]
FENCE = re.compile(r"(?:<!-- test: (\w+)[^>]*-->\n+)?^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
EXAMPLE_ROW = '{"id": "1", "problem": "1+1?", "question": "1+1?", "answer": "2", "solution": "2"}\n'
COMMAND = re.compile(r"(?:\S+/)?(?:python -m sweep|sweep)(?: |$)")


@dataclass(frozen=True)
class Block:
    """A fenced block. `<!-- test: skip REASON -->` on the line above it leaves it out."""

    page: Path
    line: int
    mark: str  # "skip", or empty
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    def commands(self) -> list[str]:
        """Lines that call sweep, continuation lines joined; of a console, those after the prompt."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return [line.strip() for line in lines if COMMAND.match(line.strip())]


def blocks() -> Iterator[Block]:
    for page in TEXTS:
        text = page.read_text(encoding="utf-8")
        for found in FENCE.finditer(text):
            line = text[: found.start(2)].count("\n") + 1
            yield Block(page, line, found[1] or "", found[2], found[3])


def arguments_of(line: str) -> list[str]:
    """What stands after the name of the program; a comment is left out."""
    return shlex.split(COMMAND.sub("", line, count=1), comments=True)


SHOWN = [each for each in blocks() if each.mark != "skip"]
COMMANDS = [(each, line) for each in SHOWN if each.language in ("bash", "console") for line in each.commands()]
PYTHON = [each for each in SHOWN if each.language == "python"]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a task of one's own; the hub cannot be reached."""
    (tmp_path / "tasks").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def provide_files(arguments: list[str]) -> None:
    """The files that an example speaks of as the reader's own, here in the working directory."""
    for argument in arguments:
        value = argument.partition("=")[2]
        if value.endswith((".jsonl", ".parquet")) and not Path(value).is_absolute() and "$" not in value:
            Path(value).parent.mkdir(parents=True, exist_ok=True)
            Path(value).write_text(EXAMPLE_ROW)
        if argument.startswith("task.name=") and not (task := Path("tasks", f"{value}.yaml")).exists():
            shutil.copy(next((PROJECT / "s1/evaluate/tasks").glob("aime24*.yaml")), task)


@pytest.mark.parametrize(("block", "line"), COMMANDS, ids=[f"{block}-{line}" for block, line in COMMANDS])
def test_a_command_in_the_documentation_plans(block: Block, line: str, workplace: Path) -> None:
    arguments = arguments_of(line)
    if arguments[0] in ("run", "plan"):
        del arguments[0]
    if arguments[0][:1].isalpha() and "=" not in arguments[0]:
        return  # another command: held by the tests of the command line
    provide_files(arguments)
    composition = compose(arguments)
    graph = pipeline.graph(composition.points, composition.request)
    assert plan([graph.product], lambda stage: False).needed


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_in_the_documentation_runs(block: Block, workplace: Path) -> None:
    exec(compile(block.text, str(block), "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_or_a_heading(page: Path) -> None:
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in LINK.findall(text):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{page.name}: {target}: no such file"
        assert not anchor or anchor in anchors(there), f"{page.name}: {target}: no such heading"


def anchors(page: Path) -> set[str]:
    """Of all headings, as GitHub spells them; the same heading again gets -1."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found: list[str] = []
    for heading in HEADING.findall(text):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(" ", "-")
        found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return set(found)


@pytest.mark.parametrize("page", [*PAGES, PROJECT / "README.md"], ids=lambda page: page.name)
def test_options_and_make_targets_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    groups = {path.name for path in CONFIG.iterdir() if path.is_dir()}
    for group, options in re.findall(r"(?<![\w.@-])([a-z_]+)=([a-z][a-z0-9_|,]*)\b", text):
        for option in re.split(r"[|,]", options) if group in groups else []:
            assert (CONFIG / group / f"{option}.yaml").exists(), f"{page.name}: {group}={option}"
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))
    assert named <= targets


def test_the_navigation_names_every_page_once() -> None:
    text = re.sub(r"!!python\S+", "", (PROJECT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert sorted(pages_of(yaml.safe_load(text)["nav"])) == [page.name for page in PAGES]


def pages_of(entry: object) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    for inner in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
        yield from pages_of(inner)


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", PROJECT / "docs" / "reference.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_every_field_and_every_choice_has_a_meaning(reference: ModuleType) -> None:
    assert reference.undocumented() == []


def test_the_configuration_reference_is_what_the_schema_makes(reference: ModuleType) -> None:
    committed = (PROJECT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert committed == reference.page(), "run `make docs`"
