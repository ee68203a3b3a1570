"""Digests, by file, of the source that a function reaches inside its own project. A pure function of the files.

    source_of(("s1.evaluate.score:scores",))  ->  {"s1/evaluate/score.py": "3f0c...", "s1/records.py": "91ab...", ...}

Works on syntax trees and imports nothing. Follows a definition to the names it uses, to their definitions in its module
or in imported modules of the project, and so on. The digest ignores comments, docstrings, formatting, annotations of
functions, the order of definitions and the location of the checkout. It includes data files, such as templates, that a
string names in the folder of a reached module.

Where the syntax does not show what is used, everything that may be used counts: a whole module that looks up its own
names at run time or is passed as a value, a whole package whose modules are listed, and in each reached module the
statements with an effect on import.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from sweep.errors import InputError
from sweep.places import PROJECT
from sweep.source.file_answers import FileAnswers
from sweep.source.syntax import Import, Module, Statement, parsed

DIGEST_CHARACTERS = 12
DATA_FILE = re.compile(r"[\w\-./]+\.\w+")
QUOTED = re.compile(r"""["']([\w\-./]+\.\w+)["']""")  # a template that another template includes


class SourceError(InputError):
    """A function whose source cannot be found or parsed."""


@cache
def source_of(roots: tuple[str, ...], home: Path | None = None, packages: tuple[str, ...] = ()) -> Mapping[str, str]:
    """Digests of the source that the roots (`module:name`) reach, by file relative to its project. Raises SourceError.

    Looks for the modules in `home`, by default where Python would import them. The project consists of their top-level
    packages, `packages` and this one. A root with a leading minus is excluded, with everything that only it reaches:
    for example a check that can raise but does not affect the artifact.
    """
    return read_source(roots, home, packages, FileAnswers())


def read_source(
    roots: tuple[str, ...], home: Path | None, packages: tuple[str, ...], files: FileAnswers
) -> Mapping[str, str]:
    """Like source_of, but makes all file system queries through `files`."""
    followed, left_out = [root for root in roots if root[0] != "-"], {root[1:] for root in roots if root[0] == "-"}
    project = {root.partition(".")[0].partition(":")[0] for root in followed} | {*packages, "sweep"}
    reach = _Reach(files, home, project, frozenset(left_out))
    for root in followed:
        module, _, name = root.partition(":")
        found = reach.module(module)
        if found is None or name not in found.bindings:
            raise SourceError(f"{root}: no such function in the project. Correct its name.")
        reach.name(found, name, ())
    reach.run()
    return reach.digests()


def digest_of_source(files: Mapping[str, str]) -> str:
    """Combine the digests of all files into one."""
    return _digest("\n".join(f"{name} {digest}" for name, digest in sorted(files.items())).encode())


def changed_files(before: Mapping[str, str | None], now: Mapping[str, str | None]) -> list[str]:
    """Names of files that differ, or that only one of the two contains."""
    return sorted(name for name in {**before, **now} if before.get(name) != now.get(name))


@dataclass
class _Reach:
    """Statements that the roots reach: those found so far, and those still to be followed."""

    files: FileAnswers
    home: Path | None
    packages: set[str]
    left_out: frozenset[str] = frozenset()  # `module:name`
    reached: dict[str, set[int]] = field(default_factory=dict[str, set[int]])  # indices of statements, by module
    waiting: list[tuple[Module, Statement]] = field(default_factory=list[tuple[Module, Statement]])
    modules: dict[str, Module | None] = field(default_factory=dict[str, Module | None])

    def run(self) -> None:
        while self.waiting:
            module, unit = self.waiting.pop()
            for used, attributes in unit.uses:
                self.name(module, used, attributes)
            for imported in unit.inner_imports:
                self._imported(imported, ())
            for dotted in unit.imported_by_name:
                self._module_used(dotted, ())
            if unit.is_dynamic:
                self._whole(module)

    def module(self, name: str) -> Module | None:
        """A module of the project; None for other modules."""
        if name not in self.modules:
            path = self._path(name)
            try:
                self.modules[name] = parsed(path, name, self.files.content(path).decode()) if path else None
            except SyntaxError as error:
                raise SourceError(f"{path} line {error.lineno}: not Python ({error.msg}). Correct the file.") from None
        return self.modules[name]

    def name(self, module: Module, name: str, attributes: tuple[str, ...]) -> None:
        """Follow a used name of a module, with the attributes taken from it."""
        if f"{module.name}:{name}" in self.left_out:
            return
        for index in module.bindings.get(name, ()):
            unit = module.units[index]
            self._unit(module, unit)
            for imported in unit.imports:
                if imported.bound == name:
                    self._imported(imported, attributes)
        if name not in module.bindings:
            for star in module.stars:
                if (source := self.module(star)) and name in source.bindings:
                    self.name(source, name, attributes)

    def digests(self) -> dict[str, str]:
        texts = {
            self._shown(module): module.text(self.reached[name])
            for name in self.reached
            if (module := self.module(name)) is not None
        }
        found = {shown: _digest(text.encode()) for shown, text in texts.items() if text}
        return dict(sorted({**found, **dict(self._data_files())}.items()))

    def _unit(self, module: Module, unit: Statement) -> None:
        self._touch(module)
        if unit.index not in self.reached[module.name]:
            self.reached[module.name].add(unit.index)
            self.waiting.append((module, unit))

    def _touch(self, module: Module) -> None:
        """Follow the import of a module and of its parent packages: statements with an effect count."""
        if module.name in self.reached:
            return
        self.reached[module.name] = set()
        for index in module.effects:
            self._unit(module, module.units[index])
        for unit in module.units:  # decorated by a project function, which may register it
            if any(self._is_ours(module, name) for name in unit.decorators):
                self._unit(module, unit)
        for imported in module.unused_imports:
            self._imported(imported, ())
        parent = self.module(module.name.rpartition(".")[0]) if "." in module.name else None
        if parent is not None:
            self._touch(parent)

    def _is_ours(self, module: Module, name: str) -> bool:
        imports = [each for index in module.bindings.get(name, ()) for each in module.units[index].imports]
        if not imports:
            return name in module.bindings
        return any(self.module(each.module) is not None for each in imports)

    def _imported(self, imported: Import, attributes: tuple[str, ...]) -> None:
        """Follow a used import."""
        if imported.name is None:
            self._module_used(imported.module, attributes)
            return
        submodule = f"{imported.module}.{imported.name}"
        source = self.module(imported.module)
        if source is not None and imported.name in source.bindings:
            self.name(source, imported.name, attributes)
        elif self.module(submodule) is not None:
            self._module_used(submodule, attributes)
        elif source is not None and source.stars:
            self.name(source, imported.name, attributes)
        elif source is not None:
            self._whole(source)

    def _module_used(self, name: str, attributes: tuple[str, ...]) -> None:
        module = self.module(name)
        if module is None:
            return
        if not attributes:
            self._whole(module)
        elif attributes[0] in module.bindings:
            self.name(module, attributes[0], attributes[1:])
        elif self.module(f"{name}.{attributes[0]}") is not None:
            self._module_used(f"{name}.{attributes[0]}", attributes[1:])
        else:
            self._whole(module)

    def _whole(self, module: Module) -> None:
        """Follow a whole module; of a package, all its modules."""
        for unit in module.units:
            self._unit(module, unit)
        if module.path.name == "__init__.py":
            for name in self.files.names(module.path.parent):
                inner = name.removesuffix(".py")
                if inner.isidentifier() and (found := self.module(f"{module.name}.{inner}")) and found is not module:
                    self._whole(found)

    def _data_files(self) -> Iterator[tuple[str, str]]:
        """Data files that strings name in folders of reached modules, and files that these name in turn."""
        modules = [module for name in self.reached if (module := self.module(name)) is not None]
        folders = {module.path.parent: self._root(module) for module in modules}
        texts = [text for each in modules for index in self.reached[each.name] for text in each.units[index].strings]
        waiting = {text for text in texts if DATA_FILE.fullmatch(text)}
        seen: set[Path] = set()
        while waiting:
            name = waiting.pop()
            for folder, root in folders.items():
                path = folder / name
                if (
                    path in seen
                    or path.suffix == ".py"
                    or not self.files.is_file(path)
                    or not (real := self.files.real_path(path)).is_relative_to(root)
                ):
                    continue
                seen.add(path)
                content = self.files.content(path)
                waiting.update(QUOTED.findall(content.decode("utf-8", errors="replace")))
                yield real.relative_to(root).as_posix(), _digest(content)

    def _path(self, name: str) -> Path | None:
        top, *inner = name.split(".")
        root = self._home_of(top)
        if root is None:
            return None
        place = root.joinpath(top, *inner)
        for path in (place / "__init__.py", place.with_name(f"{place.name}.py")):
            if self.files.is_file(path):
                return path
        return None

    def _home_of(self, top: str) -> Path | None:
        """The folder that contains a top-level module of the project."""
        if self.home is not None and any(self.files.exists(self.home / name) for name in (top, f"{top}.py")):
            return self.home
        if top not in self.packages:
            return None
        if self.files.is_folder(PROJECT / top):
            return PROJECT
        return self.files.home_of_package(top)

    def _root(self, module: Module) -> Path:
        return module.path.parents[len(module.name.split(".")) - (module.path.name != "__init__.py")]

    def _shown(self, module: Module) -> str:
        return module.path.relative_to(self._root(module)).as_posix()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGEST_CHARACTERS]
