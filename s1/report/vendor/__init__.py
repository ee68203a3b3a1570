"""JavaScript libraries of report.html, kept here so that the page needs no network (README.md: versions and licences).

Each is stored as <name>.min.js.gz, the gzip of the file that npm has, and the page embeds these very bytes: compressing
again would give other bytes with another zlib, and a report must be the same bytes on every machine.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Library:
    package: str  # on npm
    version: str
    path: str  # of the minified file in the package
    sha256: str  # of that file
    licence: str


class Script(Enum):
    """A library that the page can load, by the name that the page uses."""

    VEGA = "vega"
    VEGA_LITE = "vega-lite"
    KATEX = "katex"

    @property
    def library(self) -> Library:
        return LIBRARIES[self]

    @property
    def stored(self) -> Path:
        return FOLDER / f"{self.value}.min.js.gz"


LIBRARIES = {
    Script.VEGA: Library(
        "vega",
        "6.4.0",
        "build/vega.min.js",
        "8f6a3587cf8d4f42c7e08120e3eb05d067e746d554e39d2dcf52acc0bd5ba28f",
        "BSD-3-Clause",
    ),
    Script.VEGA_LITE: Library(
        "vega-lite",
        "6.5.0",
        "build/vega-lite.min.js",
        "83e215e84e308ee8688fa6503ba0f1cf8a3c05c0d61df2841a0b92bf86809e00",
        "BSD-3-Clause",
    ),
    Script.KATEX: Library(
        "katex",
        "0.19.1",
        "dist/katex.min.js",
        "fa140498b8cfc8302cbe5e7cb1bdbc1f952bc38b3fa258ede09e73edbf9a74bc",
        "MIT",
    ),
}


def embedded(script: Script) -> str:
    """The gzip of the library in base64, as the page embeds it."""
    return base64.b64encode(script.stored.read_bytes()).decode("ascii")
