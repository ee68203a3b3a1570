"""The JavaScript libraries of the report page are the files that npm has, in the versions that README.md names."""

from __future__ import annotations

import base64
import gzip
import hashlib

import pytest

from s1.report.vendor import FOLDER, Script, embedded


@pytest.mark.parametrize("script", Script)
def test_a_library_is_the_pinned_file(script: Script) -> None:
    minified = gzip.decompress(base64.b64decode(embedded(script)))
    assert hashlib.sha256(minified).hexdigest() == script.library.sha256
    assert b"</script" not in minified.lower(), "it would end the element of the page"


@pytest.mark.parametrize("script", Script)
def test_its_version_hash_and_licence_are_beside_it(script: Script) -> None:
    library, readme = script.library, (FOLDER / "README.md").read_text(encoding="utf-8")
    (row,) = [line for line in readme.splitlines() if f"/package/{library.package})" in line]
    assert library.version in row and library.sha256 in row and library.licence in row
    assert "Copyright" in (FOLDER / f"{script.value}.LICENSE").read_text(encoding="utf-8")


def test_nothing_else_is_in_the_folder() -> None:
    libraries = {f"{script.value}.{end}" for script in Script for end in ("min.js.gz", "LICENSE")}
    assert {path.name for path in FOLDER.iterdir() if path.is_file()} == {
        "README.md",
        "__init__.py",
        "__main__.py",
        *libraries,
    }
