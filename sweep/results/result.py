"""Read result directories through their manifest.json; temporary and user-made folders are not results.

results/<name>/<report key>/    table, figures, page, manifest.json; never replaced
results/<name>/<report key>-2/  different bytes under the same key
results/<name>/latest           a link to the last published result
results/<name>/manifest.json    of an earlier version with one result per name; never changed
results/published/<name>/       a copy, written by `sweep publish --to`
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from sweep.hashing import sha256_if_readable
from sweep.json_files import StoreError, read_json
from sweep.plain_values import is_list, is_table
from sweep.store.documents import ManifestJson
from sweep.store.temporary import is_token

MANIFEST = "manifest.json"
LATEST = "latest"


@dataclass(frozen=True)
class Manifest:
    """Content of manifest.json; those of earlier versions lack product, points and files."""

    content: ManifestJson

    @property
    def experiment(self) -> str:
        return str(self.content.get("experiment", ""))

    @property
    def artifact(self) -> str | None:
        """Address of the artifact."""
        return self.content.get("product")

    @property
    def digests(self) -> dict[str, str]:
        """Digests of all stages behind the result, by address; "" if an artifact was missing."""
        stages = {address: str(stage.get("digest", "")) for address, stage in self.content["stages"].items()}
        return {**dict.fromkeys(self.content.get("lost", {}), ""), **stages}

    @property
    def digest(self) -> str:
        """Digest of the artifact."""
        return self.digests.get(self.artifact or "", "")

    @property
    def files(self) -> Mapping[str, str] | None:
        """sha256 by path relative to the result; None for earlier versions."""
        return self.content.get("files")

    @property
    def side_files(self) -> Mapping[str, str]:
        """sha256 by path of the files that were published beside those of the artifact."""
        return self.content.get("side_files", {})

    @property
    def all_files(self) -> Mapping[str, str]:
        """sha256 by path of everything that was published."""
        return {**(self.files or {}), **self.side_files}


@dataclass(frozen=True)
class Result:
    path: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """`name/key`; `name/key-2` for different bytes under the same key, `name` without a known key."""
        key = (self.manifest.artifact or "").rpartition("/")[2]
        folder = self.path.name if key and self.path.name.startswith(key) else key
        return "/".join(filter(None, (self.manifest.experiment, folder)))

    @property
    def changed(self) -> list[str]:
        """Files in the manifest that are missing or changed."""
        return self._changed_of(self.manifest.all_files)

    def holds(self, files: Mapping[str, str]) -> bool:
        """Whether its files are exactly these and unchanged."""
        return self.manifest.files == files and not self._changed_of(files)

    def _changed_of(self, files: Mapping[str, str]) -> list[str]:
        return [name for name, sha256 in files.items() if sha256_if_readable(self.path / name) != sha256]


def read_result(path: Path) -> Result | None:
    """Read a result directory; None without a manifest of a result. Raises StoreError if the manifest is damaged."""
    file = path / MANIFEST
    if not file.is_file():
        return None
    try:
        content = read_json(file)
    except OSError as error:
        raise StoreError(
            f"{file}: cannot be read ({error.strerror}). Make it readable, or move the result away."
        ) from None
    except StoreError:
        raise StoreError(
            f"{file}: damaged, not JSON. Restore it from roots/ in the store, or move the result away."
        ) from None
    if "experiment" not in content:
        return None  # a file of the user
    if not is_valid(content):
        raise StoreError(
            f"{file}: damaged, its fields are not those of a result."
            " Restore it from roots/ in the store, or move the result away."
        )
    return Result(path, Manifest(content))


def results_in(folder: Path) -> tuple[list[Result], list[str]]:
    """All results in a folder, by path; and an error line for each unreadable one."""
    found: list[Result] = []
    faults: list[str] = []
    for path in _with_manifest(folder):
        try:
            found += [result] if (result := read_result(path)) else []
        except StoreError as error:
            faults.append(str(error))
    return found, faults


def temporary_paths(folder: Path) -> list[tuple[Path, str]]:
    """Temporary paths of publications in this folder, each with the token of its process."""
    return [(path, made_by) for path in sorted(folder.glob(".*")) if (made_by := _token_of(path.name))]


def temporary_path(folder: Path, name: str, token: str) -> Path:
    """Temporary path for what becomes `folder / name`."""
    return folder / f".{name}.{token}"


def latest_of(path: Path) -> bool:
    """Whether `latest` points to this result."""
    link = path.parent / LATEST
    return link.is_symlink() and link.readlink() == Path(path.name)


def is_valid(content: object) -> TypeGuard[ManifestJson]:
    """Whether the fields of a manifest have the expected types."""
    if not is_table(content):
        return False
    tables = [content.get(name, {}) for name in ("stages", "files", "side_files", "lost", "packages")]
    if "stages" not in content or not all(is_table(each) for each in tables):
        return False
    stages, files = content["stages"], content.get("files", {})
    if not all(is_table(stage) for stage in stages.values()):
        return False
    texts: list[object] = [content.get("experiment", ""), content.get("product", "none"), *files.values()]
    texts += content.get("side_files", {}).values()
    texts += [stage.get(name, "") for stage in stages.values() for name in ("digest", "finished_at")]
    numbers: list[object] = [content.get(name, 0) for name in ("usd", "seconds", "points")]
    return (
        all(isinstance(text, str) for text in texts)
        and content.get("product") != ""
        and all(isinstance(number, int | float) for number in numbers)
        and is_list(content.get("remarks", []))
    )


def _with_manifest(folder: Path) -> Iterator[Path]:
    """Folders with a manifest. Ignores links: their targets are found directly, or have a root."""
    for file in sorted(folder.rglob(MANIFEST)):
        parts: Sequence[str] = file.parent.relative_to(folder).parts
        if not any(_token_of(part) for part in parts):
            yield file.parent


def _token_of(name: str) -> str | None:
    hidden, _, token = name.rpartition(".")
    return token if hidden.startswith(".") and is_token(token) else None
