"""The documentation is true: its commands plan, its Python runs, its links resolve, its reference is complete."""

from __future__ import annotations

import ast
import dataclasses
import fnmatch
import importlib.util
import pkgutil
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
from s1.config.data import Data
from s1.files.csv_files import FILES as FILES_OF_COLUMNS
from s1.files.csv_files import TABLE
from sweep.cli.parser import command_of, is_word, read
from sweep.cli.table import COMMANDS as COMMAND_TABLE
from sweep.cli.table import COMMON, HYDRA_FLAGS
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
STAGE_FILES = ("pipeline", "training_stages", "reward_stages", "evaluation_stages", "report_stages")
EXAMPLE_ROW = '{"id": "1", "problem": "1+1?", "question": "1+1?", "answer": "2", "solution": "2"}\n'
COMMAND = re.compile(r"(?:\S+/)?(?:python -m sweep|sweep)(?: |$)")


@dataclass(frozen=True)
class Block:
    """A fenced block. `<!-- test: skip REASON -->` above it leaves it out.

    For `insert` see tests/integration/test_extending.py.
    """

    page: Path
    line: int
    mark: str  # "skip", "insert", or empty
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


SHOWN = [each for each in blocks() if not each.mark]
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
    """Write into the working directory the files that the page shows, and rows for the files that a command names.

    A file that the project has already is not written: somebody followed an example of the page.
    """
    for block in FILES:
        is_shipped = block.title.startswith(("conf/", "s1/", "tests/")) and (PROJECT / block.title).exists()
        if block.page == page and not is_shipped:
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
    for group, options in re.findall(r"(?<![\w.@-])([a-z_]+)=([a-z][a-z0-9_|,/]*)\b", text):
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


# ------------------------------------------------------------------------- names on the pages are names in the code

CODE_SPAN = re.compile(r"(`+)(.+?)\1")
FIELD_TABLE = re.compile(r"^\| `([a-z_.]+\.)` \|.*\n\|[-| :]+\|\n((?:\|.*\n)+)", re.MULTILINE)
MESSAGE_TABLE = re.compile(r"^\| Message.*\|\n\|[-| :]+\|\n((?:\|.*\n)+)", re.MULTILINE)
PATH_IN_TEXT = re.compile(r"(?<![\w./])(?:s1|sweep|conf|tests|docs|slurm|benchmarks)/[\w./*-]*\w")
MODULE_IN_TEXT = re.compile(r"(?<![\w./:])(?:s1|sweep)(?:\.[a-z_]\w*)+(?!\w|=|\()")
STAGE_IN_TEXT = re.compile(
    r"store/([a-z_]+)/(?:<key>|\*|[0-9a-f]{12})|(?<![\w/])([a-z_]+)/[0-9a-f]{12}\b|redo=([a-z_,]+)"
)
DIAGRAM = re.compile(r"^```text\n([^`]* -> [^`]*)^```", re.MULTILINE)
STAGE_NAME = re.compile(r'^\s+name="([a-z_]+)",$', re.MULTILINE)
PLACEHOLDERS = {"field", "group"}
MADE_BY_READER = {"slurm/site.sh", "conf/launch/NAME.yaml"}
NAMED = [
    page for page in [*PAGES, PROJECT / "README.md", PROJECT / "CONTRIBUTING.md"] if page.name != "configuration.md"
]


def spans(text: str) -> list[str]:
    """Inline code of a page."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [found[2].strip() for found in CODE_SPAN.finditer(prose)]


def first_cells(table: str) -> list[str]:
    """The code in the first cell of each row."""
    cells = [re.split(r"(?<!\\)\|", row)[1] for row in table.splitlines() if row.startswith("|")]
    return [span[2] for cell in cells for span in CODE_SPAN.finditer(cell)]


@pytest.fixture(scope="module")
def fields(reference: ModuleType) -> set[str]:
    """All configuration fields and sections; where a section occurs in several places, in each of them."""
    known = set(re.findall(r"^\| `([a-z_0-9.]+)` \|", reference.configuration(), re.MULTILINE))
    for line in re.findall(r"^\| `([a-z_0-9.]+)` \| \[([a-z_.]+)\]", reference.configuration(), re.MULTILINE):
        place, section = line
        known |= {f"{place}.{each[len(section) + 1 :]}" for each in known if each.startswith(f"{section}.")}
    return known


@pytest.mark.parametrize("page", NAMED, ids=lambda page: page.name)
def test_fields_that_are_named_exist(page: Path, fields: set[str]) -> None:
    text = page.read_text(encoding="utf-8")
    named = {found for span in spans(text) for found in re.findall(r"(?<![\w./@$-])[a-z_]+(?:\.[a-z_*0-9]+)+", span)}
    named = {each for each in named if each.partition(".")[0] in {known.partition(".")[0] for known in fields}}
    named |= {prefix + each for prefix, rows in FIELD_TABLE.findall(text) for each in first_cells(rows)}
    set_here = {found for span in spans(text) for found in re.findall(r"^[+~]?([a-z_]+(?:@[a-z_.]+)?)=\S*$", span)}
    named |= {part for each in set_here for part in each.split("@")}
    known = {*fields, *(path.name for path in CONFIG.iterdir()), *PLACEHOLDERS}
    files = {each for each in named if Path(each).suffix in (".yaml", ".md", ".py", ".json", ".jsonl", ".csv", ".html")}
    assert sorted(each for each in named - files if not fnmatch.filter(known, each)) == []


@pytest.fixture(scope="module")
def stages() -> set[str]:
    files = [PROJECT / "s1" / f"{name}.py" for name in STAGE_FILES]
    return {name for file in files for name in STAGE_NAME.findall(file.read_text(encoding="utf-8"))}


def test_the_glossary_is_sorted_and_lists_every_stage(stages: set[str]) -> None:
    terms, _, listed = (PROJECT / "docs" / "glossary.md").read_text(encoding="utf-8").partition("## Stages")
    words = [row.split("|")[1].strip().lower() for row in terms.splitlines()[4:] if row]
    assert words == sorted(set(words))
    assert set(first_cells(listed)) == stages


def test_every_column_of_a_csv_file_is_described() -> None:
    sections = re.split(r"^#+ ", (PROJECT / "docs" / "results.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    described = {section.partition("\n")[0].strip("`").replace("-<n>", ""): set(spans(section)) for section in sections}
    for file, columns in FILES_OF_COLUMNS.items():
        as_in_table = set(TABLE) if file == "samples.csv" else set()
        assert set(columns) - as_in_table <= described[file], file


@pytest.mark.parametrize("page", NAMED, ids=lambda page: page.name)
def test_stages_that_are_named_exist(page: Path, stages: set[str]) -> None:
    text = page.read_text(encoding="utf-8")
    named = {name for found in STAGE_IN_TEXT.findall(text) for name in found if name}
    assert {part for each in named for part in each.split(",")} <= stages | {"budget_scan"}  # results have keys as well
    steps = stages | {field.name for field in dataclasses.fields(Data)}
    assert {word for diagram in DIAGRAM.findall(text) for word in re.findall(r"[a-z_]+", diagram)} <= steps


@pytest.mark.parametrize("page", NAMED, ids=lambda page: page.name)
def test_paths_and_modules_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    made = {block.title for block in FILES} | MADE_BY_READER
    paths = {each for each in PATH_IN_TEXT.findall(text) if not re.search(r"[A-Z]{4}", each)} - made
    assert sorted(each for each in paths if not [*PROJECT.glob(each), *PROJECT.glob(f"{each}.py")]) == []
    assert sorted(each for each in set(MODULE_IN_TEXT.findall(text)) if not is_importable(each)) == []


def is_importable(name: str) -> bool:
    """Whether a dotted name is a module of the project, or a name in one."""
    try:
        return pkgutil.resolve_name(name) is not None
    except (ImportError, AttributeError):
        return False


@pytest.mark.parametrize("page", NAMED, ids=lambda page: page.name)
def test_commands_and_options_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    called = [span for span in spans(text) if COMMAND.match(span)]
    for span in called:
        words = re.split(r"[\s\[\]]+", COMMAND.sub("", span, count=1))
        if not words[0].isalpha() or not words[0].islower():
            continue
        command, rest = command_of(words)
        flags = {"--help", *(option.flag for option in (*command.options, *COMMON))}
        assert {word for word in rest if word.startswith("--")} <= flags, span
    alone = {span for span in spans(text) if re.fullmatch(r"--[a-z-]+", span)}
    known = {
        "--help",
        "--version",
        *(option.flag for command in COMMAND_TABLE for option in (*command.options, *COMMON)),
    }
    assert alone <= known


@pytest.fixture(scope="module")
def messages() -> list[str]:
    """All texts in the source, with NUL for what an f-string inserts, and the job script."""
    found = [(PROJECT / "slurm" / "job.sh").read_text(encoding="utf-8")]
    for file in [*PROJECT.glob("s1/**/*.py"), *PROJECT.glob("sweep/**/*.py")]:
        nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        docstrings = {node.value for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(str(each.value) if isinstance(each, ast.Constant) else "\0" for each in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
                found.append(node.value)
    return found


@pytest.mark.parametrize("page", NAMED, ids=lambda page: page.name)
def test_messages_that_are_quoted_occur_in_the_source(page: Path, messages: list[str]) -> None:
    quoted = [each for table in MESSAGE_TABLE.findall(page.read_text(encoding="utf-8")) for each in first_cells(table)]
    assert [each for each in quoted if not any(_fixed_parts(each).search(message) for message in messages)] == []


def _fixed_parts(quoted: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part.strip()) for part in quoted.split("...")))
