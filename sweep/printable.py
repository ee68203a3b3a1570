r"""Text from outside for a terminal: whatever that would obey, hide or reorder is written as `\x1b`, `\u202e`.

Shown are control characters (all but tab and new line), the separators and directions of Unicode, characters without
width, tags, and surrogates, which no terminal can be sent.
"""

from __future__ import annotations

import re

OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and new line, DEL, C1
    "\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # no width, directions, separators
    "\ud800-\udfff\U000e0000-\U000e007f]"  # surrogates, tags
)


def printable(text: str) -> str:
    """The text with all that a terminal would not show written as an escape."""
    return OBEYED.sub(lambda found: _escape(ord(found[0])), text)


def _escape(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
