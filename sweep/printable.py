r"""Escape external text for a terminal: characters that it would interpret, hide or reorder become `\x1b`, `\u202e`.

Escaped are control characters except tab and newline, Unicode separators and direction marks, zero-width characters,
tags, and surrogates, which cannot be encoded.
"""

from __future__ import annotations

import re

UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 except tab and newline, DEL, C1
    "\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # zero width, direction, separators
    "\ud800-\udfff\U000e0000-\U000e007f]"  # surrogates, tags
)


def printable(text: str) -> str:
    """The text with every unsafe character replaced by an escape."""
    return UNSAFE.sub(lambda found: _escape(ord(found[0])), text)


def _escape(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
