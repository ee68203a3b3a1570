"""The documentation is true: its commands plan, its Python runs, its links resolve, its reference is complete."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from s1 import pipeline
from sweep.cli.parser import command_of, is_word, read
from sweep.cli.table import HYDRA_FLAGS
from sweep.config.compose import CONFIG, compose
from sweep.plan.graph import plan

PROJECT = Path(__file__).resolve().parents[2]
PAGES = sorted((PROJECT / "docs").glob("*.md"))
TEXTS = [*PAGES, *(PROJECT / name for name in ("README.md", "LOG.md"))]
FENCE = re.compile(
    r"""(?:<!--\ test:\ (?P<mark>\w+)[^>]*-->\n+)?
    ^```(?P<language>\w+)(?:\ title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```""",
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
EXAMPLE_ROW = '{"id": "1", "problem": "1+1?", "question": "1+1?", "answer": "2", "solution": "2"}\n'
COMMAND = re.compile(r"(?:\S+/)?(?:python -m sweep|sweep)(?: |$)")


@dataclass(frozen=True)
class Block:
    """A fenced block. `<!-- test: skip REASON -->` above it leaves it out."""

    page: Path
    line: int
    mark: str  # "skip", or empty
    language: str
    title: str  # it is the content of this file; or empty
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    def commands(self) -> list[str]:
        """Lines that call sweep, with or without a prompt, continuation lines joined."""
        lines = [line.strip().removeprefix("$ ") for line in self.text.replace("\\\n", " ").splitlines()]
        return [line for line in lines if COMMAND.match(line)]


def blocks() -> Iterator[Block]:
    for page in TEXTS:
        text = page.read_text(encoding="utf-8")
        for found in FENCE.finditer(text):
            line = text[: found.start("language")].count("\n") + 1
            yield Block(page, line, found["mark"] or "", found["language"], found["title"] or "", found["text"])


SHOWN = [each for each in blocks() if each.mark != "skip"]
FILES = [each for each in SHOWN if each.title]
COMMANDS = [(each, line) for each in SHOWN if each.language in ("bash", "console") for line in each.commands()]
PYTHON = [each for each in SHOWN if each.language == "python" and not each.title]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in; the hub cannot be reached."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def provide_files(page: Path, arguments: Sequence[str]) -> None:
    """Write into the working directory the files that the page shows, and those that it speaks of as the reader's."""
    for block in FILES:
        if block.page == page:
            Path(block.title).parent.mkdir(parents=True, exist_ok=True)
            Path(block.title).write_text(block.text, encoding="utf-8")
    for argument in arguments:
        value = Path(argument.partition("=")[2])
        if value.suffix in (".jsonl", ".parquet") and not value.is_absolute() and not value.exists():
            value.parent.mkdir(parents=True, exist_ok=True)
            value.write_text(EXAMPLE_ROW)


@pytest.mark.parametrize(("block", "line"), COMMANDS, ids=[f"{block}-{line}" for block, line in COMMANDS])
def test_a_command_in_the_documentation_plans(block: Block, line: str, workplace: Path) -> None:
    arguments = shlex.split(COMMAND.sub("", line, count=1), comments=True)
    command, rest = command_of(arguments if arguments and is_word(arguments[0]) else ["run", *arguments])
    if any(each.partition("=")[0] in (*HYDRA_FLAGS, "--help") for each in rest):
        return
    given: dict[str, Any] = read(command, rest)
    if not command.is_composed:
        return
    provide_files(block.page, rest)
    composition = compose(given["overrides"])
    graph = pipeline.graph(composition.points, composition.request)
    assert plan([graph.artifact], lambda stage: False).needed


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted({block.page for block in PYTHON}), ids=lambda page: page.name)
def test_python_in_the_documentation_runs(page: Path, workplace: Path) -> None:
    """The blocks of a page in order, in one folder: a later one may read what an earlier one wrote."""
    for block in PYTHON:
        if block.page == page:
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
    shown = {block.title for block in FILES}
    for group, options in re.findall(r"(?<![\w.@-])([a-z_]+)=([a-z][a-z0-9_|,]*)\b", text):
        for option in re.split(r"[|,]", options) if group in groups else []:
            file = f"{group}/{option}.yaml"
            assert (CONFIG / file).exists() or f"conf/{file}" in shown, f"{page.name}: {group}={option}"
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


def test_the_written_pages_are_what_schema_and_parser_make(reference: ModuleType) -> None:
    """`make docs` rewrites them."""
    assert reference.CONFIGURATION.read_text(encoding="utf-8") == reference.configuration()
    page = reference.COMMAND_LINE.read_text(encoding="utf-8")
    assert page == reference.command_line(page)
