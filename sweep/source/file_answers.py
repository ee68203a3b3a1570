"""Record the file system queries of a computation and their answers: the same answers imply the same result.

Answers contain no times or inodes: a file is represented by its sha256 or its absence, a folder by the names in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

Given: TypeAlias = Mapping[str, Mapping[str, Any]]  # answers as JSON, by kind of query and path


class FileQuestion(Enum):
    """Kinds of query. They are repeated in this order, existence first, so that a removed file is not opened."""

    EXISTS = "exists"
    IS_FOLDER = "is_folder"
    IS_FILE = "is_file"
    REAL_PATH = "real_path"  # with links resolved
    NAMES = "names"  # of the entries of a folder
    SHA256 = "sha256"
    HOME_OF_PACKAGE = "home_of_package"  # the folder from which Python would import it; None if it cannot


class FileAnswers:
    """Make queries and keep their answers; makes no query twice."""

    def __init__(self) -> None:
        self.given: dict[str, dict[str, Any]] = {}
        self._contents: dict[Path, bytes] = {}

    def exists(self, path: Path) -> bool:
        return bool(self._ask(FileQuestion.EXISTS, path))

    def is_folder(self, path: Path) -> bool:
        return bool(self._ask(FileQuestion.IS_FOLDER, path))

    def is_file(self, path: Path) -> bool:
        return bool(self._ask(FileQuestion.IS_FILE, path))

    def real_path(self, path: Path) -> Path:
        return Path(self._ask(FileQuestion.REAL_PATH, path))

    def names(self, folder: Path) -> list[str]:
        return list(self._ask(FileQuestion.NAMES, folder))

    def content(self, path: Path) -> bytes:
        """Bytes of a file. Raises OSError if it cannot be read."""
        if path not in self._contents:
            self._contents[path] = path.read_bytes()
            self.given.setdefault(FileQuestion.SHA256.value, {})[str(path)] = _sha256(self._contents[path])
        return self._contents[path]

    def home_of_package(self, name: str) -> Path | None:
        place = self._ask(FileQuestion.HOME_OF_PACKAGE, name)
        return None if place is None else Path(place)

    def _ask(self, question: FileQuestion, about: Path | str) -> Any:
        known = self.given.setdefault(question.value, {})
        if str(about) not in known:
            known[str(about)] = ASK[question](str(about))
        return known[str(about)]


def still_given(given: Given) -> bool:
    """Whether every query has the same answer now."""
    if not set(given) <= {question.value for question in FileQuestion}:
        return False
    asked = (
        (question, about, before)
        for question in FileQuestion
        for about, before in given.get(question.value, {}).items()
    )
    try:
        return all(ASK[question](about) == before for question, about, before in asked)
    except OSError:  # a file that was readable before, and is not now
        return False


@cache
def _home_of_package(name: str) -> str | None:
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None or not (spec.submodule_search_locations or spec.origin):
        return None
    place = next(iter(spec.submodule_search_locations or ()), None) or spec.origin or ""
    return str(Path(place).resolve().parent)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


ASK: Mapping[FileQuestion, Callable[[str], Any]] = {
    FileQuestion.EXISTS: lambda path: Path(path).exists(),
    FileQuestion.IS_FOLDER: lambda path: Path(path).is_dir(),
    FileQuestion.IS_FILE: lambda path: Path(path).is_file(),
    FileQuestion.REAL_PATH: lambda path: str(Path(path).resolve()),
    FileQuestion.NAMES: lambda folder: sorted(each.name for each in Path(folder).iterdir()),
    FileQuestion.SHA256: lambda path: _sha256(Path(path).read_bytes()),
    FileQuestion.HOME_OF_PACKAGE: _home_of_package,
}
