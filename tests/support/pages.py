"""The text of report.html, apart from what is not its own."""

from __future__ import annotations

import re


def without_scripts(page: str) -> str:
    """A page without its scripts; what remains of one that somebody else started is found as "<script"."""
    return re.sub(r"<script[^>]*>.*?</script>\n?", "", page, flags=re.DOTALL)


def scripts_of(page: str) -> list[str]:
    """The start tags of all its scripts."""
    return re.findall(r"<script[^>]*>", page)


def text_of(page: str) -> str:
    """A page without scripts, styles and drawings, whose text depends on the version of matplotlib."""
    text = re.sub(r"<style>.*?</style>", "<style></style>", without_scripts(page), flags=re.DOTALL)
    return re.sub(r"<svg(?! class=\"swatch\").*?</svg>", "<svg></svg>", text, flags=re.DOTALL)


def section_of(page: str, name: str) -> str:
    """The section of this id, without drawings."""
    (found,) = re.findall(rf'<section id="{name}".*?</section>\n', text_of(page), flags=re.DOTALL)
    return found
