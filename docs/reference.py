"""Write docs/configuration.md from the typed schema and conf/, and the help pages in docs/cli.md.

    python docs/reference.py            rewrite both

A meaning is the comment beside or above a field, or the docstring below it. A test fails if a field has
none, or if a committed page is not what this file makes.
"""

from __future__ import annotations

import ast
import dataclasses
import html
import inspect
import json
import re
import sys
import textwrap
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from annotated_types import Ge, Gt, Le, Lt, MinLen

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [] if str(PROJECT) in sys.path else [str(PROJECT)]  # run as a script, from any directory

from s1.point import PointConfig  # noqa: E402
from sweep.cli.parser import overview  # noqa: E402
from sweep.cli.parser import page as help_page  # noqa: E402
from sweep.cli.table import COMMANDS  # noqa: E402
from sweep.config.compose import CONFIG, Entry, compose  # noqa: E402

CONFIGURATION = PROJECT / "docs" / "configuration.md"
COMMAND_LINE = PROJECT / "docs" / "cli.md"
HELP = re.compile(r"(<!-- help:.*?-->\n).*?(<!-- end of help -->)", re.DOTALL)
LONGEST_VALUE = 60  # characters of a default in a table
WORDS = {str: "text", int: "integer", float: "number", bool: "true or false", Path: "path", type(None): "null"}
LIMITS = {Ge: "at least", Gt: "above", Le: "at most", Lt: "below", MinLen: "of length at least"}
INTRO = """\
# Configuration reference

<!-- Written by docs/reference.py from the typed schema: edit the comments beside the fields, then run `make docs`. -->

Every field that a command can set. `field=value` sets a field, `group=option` chooses an option of a group, that is a
file of `conf/GROUP/`. With `-m`, a list of values is an axis: one point for each value.

```bash
python -m sweep +experiment=budget_scan seed=0,1 budget.waits=2 plan=true -m
```

The default is the value when nothing is set. "required" means that the schema has no default, and a configuration that
uses the section must give a value. A null is written `null`. A wrong name or type is refused before anything runs.
"""


@dataclasses.dataclass(frozen=True)
class Section:
    """A dataclass of the schema, and the first place in a configuration where it stands."""

    path: str  # "data.pool"; empty: the top of a configuration
    schema: type
    value: Any  # what stands there in the default point; None: nothing


# ------------------------------------------------------------------------------------------------ the pages


def command_line(text: str) -> str:
    """The text of cli.md with the help pages of today between their markers."""
    pages = [("sweep --help", overview()), *((f"sweep {each.name}", help_page(each)) for each in COMMANDS)]
    shown = "".join(f"\n### {name}\n\n```text\n{page.strip()}\n```\n" for name, page in pages)
    return HELP.sub(lambda found: f"{found[1]}{shown}\n{found[2]}", text)


def configuration() -> str:
    """The whole text of configuration.md."""
    seen = sections()
    places = {each.schema: each.path for each in seen}
    experiments = [
        "## Experiments\n\nFiles that set several of the following together.\n",
        _options("experiment", "experiment", True),
        "\nOf the paper ([its page](paper.md)), each on the laptop or with `scale=h100`.\n",
        _options("experiment/paper", "experiment=paper/", True),
    ]
    parts = [INTRO, *_of_command(places), *experiments, *(part for each in seen for part in _section(each, places))]
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def sections() -> list[Section]:
    """All dataclasses of the schema, each once where it stands highest, what is inside a section after it."""
    (point,) = compose([]).points
    found = [Section("", PointConfig, point)]
    for section in found:  # grows: breadth first
        for each in _inside(section):
            if each.schema not in {known.schema for known in found}:
                found.append(each)
    top = [section.path for section in found if "." not in section.path]
    return sorted(found, key=lambda section: top.index(section.path.partition(".")[0]))


def undocumented() -> list[str]:
    """Fields and enum members without a meaning, by class and name."""
    schemas = [Entry, *(each.schema for each in sections())]
    fields = [(schema, field.name) for schema in schemas for field in dataclasses.fields(schema)]
    enums = {each for schema in schemas for hint in _hints(schema).values() for each in _enums(hint)}
    members = [(enum, member.name) for enum in enums for member in enum]
    return sorted(f"{owner.__name__}.{name}" for owner, name in (*fields, *members) if not meanings(owner).get(name))


def _of_command(places: Mapping[type, str]) -> Iterator[str]:
    yield "## The command\n\nThese concern the command as a whole and not its points.\n"
    yield _table(Entry, compose([]).entry, places, "")


def _section(section: Section, places: Mapping[type, str]) -> Iterator[str]:
    groups = [path.name for path in CONFIG.iterdir() if path.is_dir()]
    name = section.path.rpartition(".")[2]
    yield f"{'##' if '.' not in section.path else '###'} {f'`{section.path}`' if section.path else 'A point'}\n"
    if text := _first_paragraph(section.schema):
        yield text + "\n"
    if name in groups:
        yield _options(name, section.path, is_new=section.value is None and section.path not in _composed())
    yield _table(section.schema, section.value, places, section.path)


@cache
def _composed() -> frozenset[str]:
    """Groups that the defaults list chooses an option of, "none" included."""
    lines = (CONFIG / "config.yaml").read_text(encoding="utf-8").splitlines()
    return frozenset(found[1] for line in lines if (found := re.fullmatch(r"  - (\w+): \S+", line)))


def _options(group: str, path: str, is_new: bool = False) -> str:
    """Table of a group's options, each with the first sentence of its file; `+` adds what the default point lacks."""
    choice = group if group == path else path if path.endswith("/") else f"{group}@{path}"
    choice = f"+{choice}" if is_new else choice
    rows = [("Option", "Description")]
    for file in sorted((CONFIG / group).glob("*.yaml")):
        name = f"{choice}{file.stem}" if choice.endswith("/") else f"{choice}={file.stem}"
        rows.append((f"`{name}`", _cell(_first_sentence(file))))
    return _markdown(rows)


def _table(schema: type, value: Any, places: Mapping[type, str], path: str) -> str:
    hints, said = _hints(schema), meanings(schema)
    rows = [("Field", "Type", "Default", "Meaning")]
    for field in dataclasses.fields(schema):
        full = f"{path}.{field.name}" if path else field.name
        meaning = _cell(said.get(field.name, "")) + _values(hints[field.name])
        rows.append((f"`{full}`", _type(hints[field.name], places), _default(field, value), meaning))
    return _markdown(rows)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body)]
    return "\n".join(lines) + "\n"


# ------------------------------------------------------------------------------------------------ one field


def _type(hint: Any, places: Mapping[type, str]) -> str:
    """A type in words: "integer, at least 1, or null", "list of text"; a dataclass as a link to its section."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return ", ".join([_type(inner[0], places), *_limits(inner[1:])])
    if origin is typing.Literal:
        return "choice: " + ", ".join(f"`{each}`" for each in inner)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_type(each, places) for each in inner)
    if origin in (list, tuple):
        return f"list of {_type(inner[0], places)}"
    if inner and issubclass(origin, Mapping):
        return f"{_type(inner[1], places)} by name"
    if dataclasses.is_dataclass(hint):
        return f"[{places[hint]}](#{places[hint].replace('.', '')})"
    return "choice" if isinstance(hint, type) and issubclass(hint, Enum) else WORDS[hint]


def _limits(constraints: Iterable[Any]) -> Iterator[str]:
    """Ranges in words; constraints of other kinds are left to the meaning."""
    for constraint in constraints:
        for kind, words in LIMITS.items():
            if isinstance(constraint, kind):
                yield f"{words} {_number(getattr(constraint, dataclasses.fields(constraint)[0].name))}"


def _number(value: float) -> str:
    return "2^32" if value == 2**32 else str(value)


def _values(hint: Any) -> str:
    """The values of enums, with their meanings; empty for other types."""
    lines = [f"`{member.value}`: {meanings(enum).get(member.name, '')}" for enum in _enums(hint) for member in enum]
    return "".join(f"<br>{_cell(line)}" for line in lines)


def _default(field: dataclasses.Field[Any], value: Any) -> str:
    if value is not None:
        return _shown(getattr(value, field.name))
    if field.default is not dataclasses.MISSING:
        return _shown(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return _shown(field.default_factory())
    return "required"


def _shown(value: Any) -> str:
    """A value as it is typed; of what is itself a section, a reference to it."""
    if isinstance(value, Enum):
        value = value.value
    if dataclasses.is_dataclass(value):
        return "its section"
    if isinstance(value, Mapping) and any(dataclasses.is_dataclass(each) for each in value.values()):
        return ", ".join(f"`{name}`" for name in value)
    if isinstance(value, Path):
        value = value.name  # beside the project, or where one works
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    short = text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 3] + "..."
    return _code(short)


# ------------------------------------------------------------------------------------- meanings in the source


@cache
def meanings(owner: type) -> Mapping[str, str]:
    """By the name of a field or member: the comment beside or above it, or the docstring below it."""
    source = textwrap.dedent(inspect.getsource(owner))
    lines = source.splitlines()
    (tree,) = ast.parse(source).body
    assert isinstance(tree, ast.ClassDef)
    above = owner.__mro__[1]
    found = dict(meanings(above)) if dataclasses.is_dataclass(above) else {}
    for node, below in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign | ast.Assign):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            found[ast.unparse(target)] = _docstring(below) or _beside(lines, node) or _above(lines, node)
    return found


def _docstring(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(node.value.value.split())
    return ""


def _beside(lines: Sequence[str], node: ast.stmt) -> str:
    assert node.end_lineno is not None and node.end_col_offset is not None
    rest = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode().strip()
    return rest.removeprefix("#").strip() if rest.startswith("#") else ""


def _above(lines: Sequence[str], node: ast.stmt) -> str:
    """Comment lines directly above; a ruler line is none."""
    found: list[str] = []
    for line in reversed(lines[: node.lineno - 1]):
        if not line.strip().startswith("# ") or line.strip().startswith("# --"):
            break
        found.insert(0, line.strip().removeprefix("# "))
    return " ".join(found)


# -------------------------------------------------------------------------------------------- walking the schema


def _inside(section: Section) -> Iterator[Section]:
    for name, hint in _hints(section.schema).items():
        here = getattr(section.value, name, None)
        for schema in _schemas(hint):
            path = f"{section.path}.{name}" if section.path else name
            yield Section(path, schema, here if isinstance(here, schema) else None)


def _hints(schema: type) -> dict[str, Any]:
    hints = typing.get_type_hints(schema, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(schema)}


def _enums(hint: Any) -> list[type[Enum]]:
    return [each for each in _leaves(hint) if issubclass(each, Enum)]


def _schemas(hint: Any) -> list[type]:
    return [each for each in _leaves(hint) if dataclasses.is_dataclass(each)]


def _leaves(hint: Any) -> Iterator[type]:
    """The classes that a type is made of; its ranges and literal values are none."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return
    for each in inner[:1] if origin is typing.Annotated else inner:
        yield from _leaves(each)
    if not inner and isinstance(hint, type):
        yield hint


# ----------------------------------------------------------------------------------------------------- texts


def _first_paragraph(schema: type) -> str:
    own = schema.__doc__ or ""
    return "" if own.startswith(f"{schema.__name__}(") else inspect.cleandoc(own).partition("\n\n")[0]


def _first_sentence(file: Path) -> str:
    """Of the comment at the head of an option's file; the lines that only show a command are left out."""
    words: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line.removeprefix("#").strip()
        if not text.startswith(("@package", "python -m sweep")):
            words.append(text)
    sentence, period, _ = " ".join(words).partition(". ")
    return sentence + period.strip()


def _cell(text: str) -> str:
    """Text for a cell of a table: nothing outside of code that Markdown takes for a tag, and no bar."""
    parts = text.split("`")
    parts[::2] = [part.replace("<", "&lt;").replace("|", "&#124;") for part in parts[::2]]
    parts[1::2] = [_code(part) for part in parts[1::2]]
    return "".join(parts)


def _code(text: str) -> str:
    """Code for a cell of a table. Renderers disagree about a bar in backticks, hence the element."""
    line = text.replace("\n", "\\n")
    return f"<code>{html.escape(line, quote=False).replace('|', '&#124;')}</code>" if "|" in line else f"`{line}`"


if __name__ == "__main__":
    CONFIGURATION.write_text(configuration(), encoding="utf-8")
    COMMAND_LINE.write_text(command_line(COMMAND_LINE.read_text(encoding="utf-8")), encoding="utf-8")
