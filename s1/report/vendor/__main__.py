"""Renew the libraries: `make vendor`, after a change of a version in __init__.py.

Downloads each package from npm, checks it against the hash that npm publishes, writes <name>.min.js.gz, the licence and
README.md, and prints the sha256 to enter in __init__.py. Raises InputError for a package that does not match.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
import urllib.request

from s1.report.vendor import FOLDER, LIBRARIES, Library, Script
from sweep.errors import InputError

REGISTRY = "https://registry.npmjs.org"
HEADING = """# Libraries of the report page

`make vendor` writes this folder; `s1/report/vendor/__init__.py` pins the versions. `<name>.min.js.gz` is the gzip of
the minified file that npm has, unchanged.

| library | version | licence | file on npm | sha256 of that file |
|---|---|---|---|---|
"""


def main() -> None:
    rows = []
    for script, library in LIBRARIES.items():
        minified, licence = downloaded(library)
        script.stored.write_bytes(gzip.compress(minified, 9, mtime=0))
        (FOLDER / f"{script.value}.LICENSE").write_bytes(licence)
        digest = hashlib.sha256(minified).hexdigest()
        note = "" if digest == library.sha256 else "  <- enter it in s1/report/vendor/__init__.py"
        print(f"{script.value} {library.version} {digest}{note}")
        rows.append(row(script, library, digest))
    (FOLDER / "README.md").write_text(HEADING + "".join(rows), encoding="utf-8")


def row(script: Script, library: Library, digest: str) -> str:
    name = f"[{library.package}](https://www.npmjs.com/package/{library.package})"
    licence = f"[{library.licence}]({script.value}.LICENSE)"
    return f"| {name} | {library.version} | {licence} | `{library.path}` | `{digest}` |\n"


def downloaded(library: Library) -> tuple[bytes, bytes]:
    """The minified file and the licence of a package."""
    facts = json.loads(fetched(f"{REGISTRY}/{library.package}/{library.version}"))
    archive = fetched(facts["dist"]["tarball"])
    algorithm, _, expected = facts["dist"]["integrity"].partition("-")
    if base64.b64encode(hashlib.new(algorithm, archive).digest()).decode() != expected:
        raise InputError(f"{library.package} {library.version}: is not what npm published. Download it again.")
    with tarfile.open(fileobj=io.BytesIO(archive)) as package:
        files = {member.name: member for member in package.getmembers()}
        return tuple(read(package, files[f"package/{path}"]) for path in (library.path, "LICENSE"))  # type: ignore[return-value]


def read(package: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    opened = package.extractfile(member)
    assert opened is not None, "a regular file"
    return opened.read()


def fetched(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=60) as answer:
        return answer.read()


if __name__ == "__main__":
    main()
