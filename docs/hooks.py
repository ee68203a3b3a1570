"""Hooks of the documentation build (mkdocs.yml)."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
OUTWARD = re.compile(r"(?<!!)\[([^\]]+)\]\(\.\./([^)#\s]*)(?:#[^)\s]*)?\)")
log = logging.getLogger("mkdocs.hooks.outward_links")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links to files of the repository, which work on GitHub, become the path: the site has only docs/."""

    def path_of(found: re.Match[str]) -> str:
        text, path = found.groups()
        if not (PROJECT / path).exists():
            log.warning("%s links to ../%s, which does not exist", page.file.src_uri, path)  # --strict: an error
        name = f"`{path.rstrip('/')}`"
        return name if text.strip("`") == path.rstrip("/") else f"{text} ({name})"

    return OUTWARD.sub(path_of, markdown)
