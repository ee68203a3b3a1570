r"""Normalize the notation of answers: Unicode, Markdown and LaTeX formatting become plain LaTeX.

    characters    a true minus, fractions, roots, superscripts, sets, full-width digits
    spacing       \, \! \quad ~ \left \right \displaystyle
    delimiters    $, \(, \[, **bold**, `code`
    wrappers      \text{}, \mathbf{}, \boxed{}: replaced by their content between spaces

A comma or thin space that joins digits (`1{,}000`, `11,\! 111`) becomes GROUP, so that no parser takes it for a list.
Runs in time linear in the length of the text.
"""

from __future__ import annotations

import re
import unicodedata

GROUP = "\x02"  # joins digits of one number
UNKNOWN = "\x03"  # replaces ambiguous text that no parser may accept, such as a range "10-20" with an en dash

_SUPERSCRIPTS = dict(
    zip("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207a\u207b\u207f", "0123456789+-n", strict=True)
)
_SUBSCRIPTS = dict(zip("\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089", "0123456789", strict=True))
_GREEK = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu"),
    *("xi", "omicron", "pi", "rho", "sigma", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega"),
)

_CHARACTERS = {
    **dict.fromkeys("\u2212\u2010\u2011\u2012\u2013\ufe63\uff0d", "-"),
    **dict.fromkeys("\u00a0\u2002\u2003\u2009\u202f\u2007\u2005\u2006\u3000", " "),
    **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u2061\u2062", ""),
    **dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb", '"'),
    **dict.fromkeys("\u2018\u2019\u201a", "'"),
    **{chr(0x3B1 + place): f"\\{name} " for place, name in enumerate(_GREEK)},
    "\u00a2": " cents ",
    "\u00d7": "\\times ",
    "\u00b7": "\\cdot ",
    "\u22c5": "\\cdot ",
    "\u2217": "*",
    "\u00f7": "\\div ",
    "\u2044": "/",
    "\u2215": "/",
    "\u221e": "\\infty ",
    "\u2264": "\\le ",
    "\u2265": "\\ge ",
    "\u2a7d": "\\le ",
    "\u2a7e": "\\ge ",
    "\u2260": "\\ne ",
    "\u2248": "\\approx ",
    "\u2261": "\\equiv ",
    "\u222a": "\\cup ",
    "\u2229": "\\cap ",
    "\u2208": "\\in ",
    "\u2205": "\\emptyset ",
    "\u2216": "\\setminus ",
    "\u00b1": "\\pm ",
    "\u2213": "\\mp ",
    "\u00b0": "^\\circ ",
    "\u00ba": "^\\circ ",
    "\u211d": "\\mathbb{R}",
    "\u2124": "\\mathbb{Z}",
    "\u2115": "\\mathbb{N}",
    "\u211a": "\\mathbb{Q}",
    "\u2102": "\\mathbb{C}",
    "\u3002": ". ",
    "\u27e8": "\\langle ",
    "\u27e9": "\\rangle ",
    "\u230a": "\\lfloor ",
    "\u230b": "\\rfloor ",
    "\u2308": "\\lceil ",
    "\u2309": "\\rceil ",
    "\u2026": "\\ldots ",
}
_RAISED = re.compile(f"[{''.join(_SUPERSCRIPTS)}]+")
_LOWERED = re.compile(f"[{''.join(_SUBSCRIPTS)}]+")
_ROOT = re.compile("([\u221a\u221b])\\s*(\\d+(?:\\.\\d+)?|[A-Za-z])?")
_RANGE = re.compile("(?<=\\d)\\s?\u2013\\s?(?=\\d)")
_CROSS = re.compile(r"(?<=\d)\s+x\s+(?=\d)")
_WORKSPACE = re.compile(
    r"(?P<keep>\\\\(?:\[[^\]\n]{0,20}\])?|\\[{}%])"
    r"|(?P<group>(?<=\d)(?:\{,\}\s*(?=\d)|(?:,\\!|\\,|\\!,|\\ )\s*(?=\d{3}(?!\d))))"
    r"|(?P<space>\\[,;:> ]|\\q?quad(?![a-zA-Z])|~)"
    r"|(?P<drop>\\!|\\(?:left|right)(?![a-zA-Z])\.?|\\(?:[bB]igg?[lrm]?"
    r"|blacksquare|qed|square|Box|checkmark|displaystyle|textstyle|limits|,)(?![a-zA-Z])"
    r"|\\[()\[\]$]|\$|\*\*(?!\s*\d)|(?<!\d)\*\*|`|\\(?:no)?newline|<br */?>"
    r"|</?(?:answer|b|i|p|u|s|em|strong|span|div|code|center|font|h\d|think)>|\\tag\*?\{[^{}]*\})"
    r"|(?P<frac>\\[dtc]frac(?![a-zA-Z]))"
)
_CLOCK = re.compile(r"(?<=:\d\d)\s*([ap])\.?\s?m\b\.?", re.IGNORECASE)  # 11:30 a.m.
_BRACES = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|math(?:rm|bf|sf|it|normal)|[mh]box|operatorname|boxed|fbox|emph|underline|bm"
    r"|boldsymbol)\s*\{|\\.|[{}]",
    re.DOTALL,
)
_EMPHASIS = re.compile(r"(?P<mark>__|\*|_|\"|')(?P<inner>[^*_\"']+)(?P=mark)")


def plain(text: str) -> str:
    """Convert the text to plain notation without changing its meaning."""
    spelled = _CROSS.sub(r" \\times ", _spelled(text))
    flat = _CLOCK.sub(lambda half: f" {half[1].lower()}m", _unwrapped(_WORKSPACE.sub(_present, spelled))).strip()
    emphasised = _EMPHASIS.fullmatch(flat)
    return emphasised["inner"].strip() if emphasised else flat


def _spelled(text: str) -> str:
    """Replace characters that have a LaTeX spelling by ASCII."""
    if text.isascii():
        return text
    text = _RANGE.sub(UNKNOWN, text)
    text = _RAISED.sub(lambda run: "^{" + "".join(_SUPERSCRIPTS[each] for each in run[0]) + "}", text)
    text = _LOWERED.sub(lambda run: "_{" + "".join(_SUBSCRIPTS[each] for each in run[0]) + "}", text)
    text = _ROOT.sub(_rooted, text)
    return "".join(each if each.isascii() else _spell(each) for each in text)


def _rooted(match: re.Match[str]) -> str:
    root = "\\sqrt" if match[1] == "\u221a" else "\\sqrt[3]"
    return f"{root}{{{match[2]}}}" if match[2] else root


def _spell(character: str) -> str:
    known = _CHARACTERS.get(character)
    if known is not None:
        return known
    if unicodedata.category(character) == "So" or character == "\u220e":  # a tick, an emoji, the end of a proof
        return " "
    folded = unicodedata.normalize("NFKC", character)
    if "\u2044" in folded:
        above, _, below = folded.partition("\u2044")
        return f"\\frac{{{above}}}{{{below}}}"
    return folded


def _present(match: re.Match[str]) -> str:
    return {"keep": match[0], "group": GROUP, "space": " ", "drop": "", "frac": "\\frac"}[match.lastgroup or "drop"]


def _unwrapped(text: str) -> str:
    """Replace \\text{} and similar wrappers by their content, between spaces."""
    parts: list[str] = []
    closers: list[str] = []
    last = 0
    for match in _BRACES.finditer(text):
        parts.append(text[last : match.start()])
        last = match.end()
        token = match[0]
        if token == "}":
            parts.append(closers.pop() if closers else "}")
        elif token.endswith("{") and token != "\\{":
            wrapper = len(token) > 1
            closers.append(" " if wrapper else "}")
            parts.append(" " if wrapper else "{")
        else:
            parts.append(token)
    unclosed = "{" * len(closers)  # keeps a parser from accepting the incomplete text
    return "".join([*parts, text[last:], unclosed])
