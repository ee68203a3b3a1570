"""Parse a Python module into top-level statements: the names each binds and uses, and its normalized text.

The normalized text omits comments, docstrings, formatting, and annotations of functions and variables. Class fields
keep their annotations, because dataclasses read them.
"""

from __future__ import annotations

import ast
import re
import symtable
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

LOOKUPS = ("globals", "vars", "locals", "eval", "exec")  # look up names at run time
IMPORTERS = ("import_module", "__import__")
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITION = (*FUNCTION, ast.ClassDef)


@dataclass(frozen=True)
class Import:
    """A name bound to a module or to a member of a module."""

    bound: str
    module: str
    name: str | None = None  # None: the module itself


@dataclass(frozen=True, eq=False)
class Statement:
    """One top-level statement; an import counts once for each name."""

    index: int
    node: ast.stmt
    package: str  # base of relative imports
    binds: tuple[str, ...]
    imports: tuple[Import, ...] = ()  # names that it binds by importing

    @cached_property
    def plain(self) -> ast.stmt:
        """The normalized statement."""
        return _plain(self.node, in_class=False)

    @cached_property
    def text(self) -> str:
        return ast.unparse(self.plain)

    @cached_property
    def uses(self) -> list[tuple[str, tuple[str, ...]]]:
        """Used names of the module, each with the attributes taken from it."""
        known = _global_names(symtable.symtable(self.text, "unit", "exec"))
        return [(name, attributes) for name, attributes in _chains(self.plain) if name in known]

    @cached_property
    def _nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.plain))

    @cached_property
    def inner_imports(self) -> list[Import]:
        """Imports inside functions."""
        nodes = [] if isinstance(self.node, ast.Import | ast.ImportFrom) else self._nodes
        return [found for node in nodes for found in imports_of(node, self.package)]

    @cached_property
    def imported_by_name(self) -> list[str]:
        """Modules imported by a call with a literal name."""
        named = (call.args[0] for call in self._importing if call.args)
        return [each.value for each in named if isinstance(each, ast.Constant) and isinstance(each.value, str)]

    @cached_property
    def is_dynamic(self) -> bool:
        """Whether it looks up names that the syntax does not show."""
        called = (node.func for node in self._nodes if isinstance(node, ast.Call))
        looking = any(isinstance(each, ast.Name) and each.id in LOOKUPS for each in called)
        return looking or len(self._importing) > len(self.imported_by_name)

    @cached_property
    def _importing(self) -> list[ast.Call]:
        return [node for node in self._nodes if isinstance(node, ast.Call) and _called(node) in IMPORTERS]

    @cached_property
    def strings(self) -> list[str]:
        return [node.value for node in self._nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]

    @cached_property
    def decorators(self) -> list[str]:
        found = self.node.decorator_list if isinstance(self.node, DEFINITION) else []
        return [name for decorator in found for name, _ in _chains(decorator)][: len(found)]


@dataclass(frozen=True, eq=False)
class Module:
    name: str
    path: Path
    units: tuple[Statement, ...]
    stars: tuple[str, ...]  # modules from which everything is imported
    words: Counter[str]  # of its text

    @cached_property
    def bindings(self) -> dict[str, list[int]]:
        """Indices of the statements that bind a name."""
        found: dict[str, list[int]] = {}
        for unit in self.units:
            for name in unit.binds:
                found.setdefault(name, []).append(unit.index)
        return found

    @cached_property
    def effects(self) -> list[int]:
        """Indices of statements that may do more than bind names on import."""
        plain = (*DEFINITION, ast.Assign, ast.AnnAssign, ast.Import, ast.ImportFrom)
        return [unit.index for unit in self.units if not unit.binds or not isinstance(unit.node, plain)]

    @cached_property
    def unused_imports(self) -> list[Import]:
        """Imports that the module never uses: they are there for their side effects."""
        return [each for unit in self.units for each in unit.imports if self.words[each.bound] < 2]

    def text(self, indices: set[int]) -> str:
        """Text of these statements: definitions sorted by name, then statements that bind nothing in source order."""
        units = sorted((self.units[index] for index in indices), key=lambda unit: (unit.binds or ("~",), unit.index))
        return "\n".join(unit.text for unit in units)


@cache
def parsed(path: Path, name: str, source: str) -> Module:
    """Parse a module. Raises SyntaxError.

    Cached, because the stages of a plan reach mostly the same modules.
    """
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(source, filename=str(path))
    units: list[Statement] = []
    stars: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            stars.append(_absolute(node, package))
        elif isinstance(node, ast.ImportFrom) and node.module == "__future__":
            continue
        elif isinstance(node, ast.Import | ast.ImportFrom):
            units += [_import_unit(len(units) + at, node, alias, package) for at, alias in enumerate(node.names)]
        elif not _is_skipped(node):
            inner = [] if isinstance(node, DEFINITION) else list(_imports_at_top(node, package))
            binds = tuple(dict.fromkeys([*_bound(node), *(each.bound for each in inner)]))
            units.append(Statement(len(units), node, package, binds, tuple(inner)))
    return Module(name, path, tuple(units), tuple(stars), Counter(re.findall(r"\w+", source)))


def imports_of(node: ast.AST, package: str) -> Iterator[Import]:
    """Names that an import statement binds; none for other nodes."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            top = alias.name.partition(".")[0]
            yield Import(alias.asname or top, alias.name if alias.asname else top)
    if isinstance(node, ast.ImportFrom):
        for alias in node.names:
            yield Import(alias.asname or alias.name, _absolute(node, package), alias.name)


def _import_unit(index: int, node: ast.Import | ast.ImportFrom, alias: ast.alias, package: str) -> Statement:
    if isinstance(node, ast.Import):
        single: ast.Import | ast.ImportFrom = ast.Import([alias])
    else:
        single = ast.ImportFrom(_absolute(node, package), [alias], 0)
    (imported,) = imports_of(single, package)
    return Statement(index, single, package, (imported.bound,), (imported,))


def _imports_at_top(node: ast.stmt, package: str) -> Iterator[Import]:
    """Imports inside top-level `if` and `try` statements."""
    for inner in ast.walk(node):
        yield from imports_of(inner, package)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if node.level == 0:
        return node.module or ""
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])


def _bound(node: ast.stmt) -> Iterator[str]:
    """Names that a top-level statement binds, without those inside functions."""
    if isinstance(node, DEFINITION):
        yield node.name
        return
    for place in _targets(node):
        yield from (each.id for each in ast.walk(place) if isinstance(each, ast.Name))
    for inner in _inner(node):
        yield from _bound(inner)


def _targets(node: ast.stmt) -> list[ast.expr]:
    """Assignment targets of a statement; subscripts and attributes bind no name."""
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.For):
        targets = [node.target]
    elif isinstance(node, ast.With):
        targets = [item.optional_vars for item in node.items if item.optional_vars is not None]
    else:
        targets = []
    return [each for each in targets if not isinstance(each, ast.Attribute | ast.Subscript)]


def _inner(node: ast.stmt) -> Iterator[ast.stmt]:
    """Statements in the blocks of a statement."""
    for block in ("body", "orelse", "finalbody"):
        yield from getattr(node, block, ())
    for handler in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield from handler.body


def _is_skipped(node: ast.stmt) -> bool:
    """Whether it never runs in a stage (TYPE_CHECKING, `__main__`) or has no effect."""
    if isinstance(node, ast.If):
        tested = ast.unparse(node.test)
        return tested in ("TYPE_CHECKING", "typing.TYPE_CHECKING") or tested.startswith("__name__ ==")
    return isinstance(node, ast.Pass) or _is_text(node)


def _global_names(table: symtable.SymbolTable) -> set[str]:
    at_top = table.get_type() == "module"
    found = {
        each.get_name()
        for each in table.get_symbols()
        if (each.is_referenced() or each.is_assigned() if at_top else each.is_global())
    }
    return found.union(*map(_global_names, table.get_children()))


def _chains(node: ast.AST) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Names with the attributes that follow them: `a.b.c` gives ("a", ("b", "c"))."""
    attributes: list[str] = []
    base = node
    while isinstance(base, ast.Attribute):
        attributes.append(base.attr)
        base = base.value
    if isinstance(base, ast.Name):
        yield base.id, tuple(reversed(attributes))
        return
    for inner in ast.iter_child_nodes(base):
        yield from _chains(inner)


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _is_text(node: ast.stmt) -> bool:
    """Whether it is a docstring or another bare string."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _plain(node: ast.stmt, in_class: bool) -> ast.stmt:
    """Normalize a statement in place: remove docstrings, and annotations except those of class fields."""
    if isinstance(node, ast.AnnAssign) and not in_class:
        if node.value is not None:
            return ast.copy_location(ast.Assign([node.target], node.value), node)
        node.annotation = ast.Constant(None)
    if isinstance(node, FUNCTION):
        node.returns = None
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        for argument in every:
            if argument is not None:
                argument.annotation = None
    for block in ("body", "orelse", "finalbody"):
        if hasattr(node, block):
            statements = [each for each in getattr(node, block) if not _is_text(each)]
            setattr(node, block, [_plain(each, isinstance(node, ast.ClassDef)) for each in statements])
    for handler in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        handler.body = [_plain(each, in_class) for each in handler.body]
    if getattr(node, "body", None) == []:
        setattr(node, "body", [ast.Pass()])  # noqa: B010, of whatever kind of statement it is
    return node
