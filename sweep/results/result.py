"""A result directory, as its manifest.json describes it; what is aside or a user's own is none.

results/<name>/<report key>/    table, figures, page, manifest.json; never replaced
results/<name>/<report key>-2/  other bytes under the same key
results/<name>/latest           a link to the one that was published last
results/<name>/manifest.json    of a version that kept one result for each name; left as it is
results/published/<name>/       a copy, written by `sweep publish --to`
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from sweep.json_files import StoreError, read_json
from sweep.plain_values import is_table
from sweep.store.documents import ManifestJson
from sweep.store.temporary import is_token

MANIFEST = "manifest.json"
LATEST = "latest"


@dataclass(frozen=True)
class Manifest:
    """The content of manifest.json; older ones know neither product, points nor files."""

    content: ManifestJson

    @property
    def experiment(self) -> str:
        return str(self.content.get("experiment", ""))

    @property
    def product(self) -> str | None:
        """Its address."""
        return self.content.get("product")

    @property
    def digests(self) -> dict[str, str]:
        """Of all stages that it rests on, by address; "" where the product was not there to be digested."""
        stages = {address: str(stage.get("digest", "")) for address, stage in self.content["stages"].items()}
        return {**dict.fromkeys(self.content.get("lost", {}), ""), **stages}

    @property
    def digest(self) -> str:
        """Of the product."""
        return self.digests.get(self.product or "", "")

    @property
    def files(self) -> Mapping[str, str] | None:
        """sha256 by path relative to the result; None: an older one."""
        return self.content.get("files")


@dataclass(frozen=True)
class Result:
    path: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """`name/key`, as people call it; `name/key-2` beside other bytes, `name` where no key is known."""
        key = (self.manifest.product or "").rpartition("/")[2]
        folder = self.path.name if key and self.path.name.startswith(key) else key
        return "/".join(filter(None, (self.manifest.experiment, folder)))

    @property
    def changed(self) -> list[str]:
        """Files of ours that are missing or have other bytes."""
        return [name for name, sha256 in (self.manifest.files or {}).items() if sha256_of(self.path / name) != sha256]

    def holds(self, files: Mapping[str, str]) -> bool:
        """These are its files, and it still has them as they were."""
        return self.manifest.files == files and not self.changed


def read_result(path: Path) -> Result | None:
    """None: a folder without manifest, or with one that is no result's. Raises StoreError if it cannot be read."""
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
            f"{file}: damaged, not JSON. Copy it from the store's roots/ if it is there, or move the result away."
        ) from None
    if "experiment" not in content:
        return None  # a user's own
    if not is_whole(content):
        raise StoreError(f"{file}: names no stages. Copy it from the store's roots/, or move the result away.")
    return Result(path, Manifest(content))


def results_in(folder: Path) -> tuple[list[Result], list[str]]:
    """All results of a results folder, by path; and a line for each that cannot be read."""
    found: list[Result] = []
    faults: list[str] = []
    for path in _with_manifest(folder):
        try:
            found += [result] if (result := read_result(path)) else []
        except StoreError as error:
            faults.append(str(error))
    return found, faults


def asides_in(folder: Path) -> list[tuple[Path, str]]:
    """What publishing made aside in this very folder, each with the token of its process."""
    return [(path, made_by) for path in sorted(folder.glob(".*")) if (made_by := _token_of(path.name))]


def aside_in(folder: Path, name: str, token: str) -> Path:
    """The place of what becomes `folder / name`."""
    return folder / f".{name}.{token}"


def latest_of(path: Path) -> bool:
    """Whether the link beside it points to this result."""
    link = path.parent / LATEST
    return link.is_symlink() and link.readlink() == Path(path.name)


def sha256_of(path: Path) -> str | None:
    """None: not a file that can be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def is_whole(content: object) -> TypeGuard[ManifestJson]:
    """Whether the fields of a manifest are what they are read as."""
    if not is_table(content):
        return False
    stages, files, lost = content.get("stages"), content.get("files"), content.get("lost")
    if not is_table(stages) or not all(is_table(each) for each in (files, lost) if each):
        return False
    texts: list[object] = [content.get("product") or "", *(files.values() if is_table(files) else ())]
    numbers: list[object] = [content.get(name, 0) for name in ("usd", "seconds", "points")]
    return (
        all(isinstance(stage, dict) for stage in stages.values())
        and all(isinstance(text, str) for text in texts)
        and all(isinstance(number, int | float) for number in numbers)
    )


def _with_manifest(folder: Path) -> Iterator[Path]:
    """Once each: links such as `latest` lead to folders that are found themselves, or lie elsewhere and have a root."""
    for file in sorted(folder.rglob(MANIFEST)):
        parts: Sequence[str] = file.parent.relative_to(folder).parts
        if not any(_token_of(part) for part in parts):
            yield file.parent


def _token_of(name: str) -> str | None:
    hidden, _, token = name.rpartition(".")
    return token if hidden.startswith(".") and is_token(token) else None
