r"""Separate a value from its unit and other decorations: degrees, percent, currencies, nouns.

`5 apples` is 5, `15 \text{ cm}^2` is 15, `\$18.90` is 18.90 and 33% is 33. Words that compute ("times", "dozen",
"factorial", "or") are not units. `15 cm` and `15 m` differ because both units are known; `15` equals either.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAMES = {
    "m": ("m", "meter", "meters", "metre", "metres"),
    "cm": ("cm", "centimeter", "centimeters", "centimetre", "centimetres"),
    "mm": ("mm", "millimeter", "millimeters", "millimetre", "millimetres"),
    "km": ("km", "kilometer", "kilometers", "kilometre", "kilometres"),
    "in": ("in", "inch", "inches"),
    "ft": ("ft", "foot", "feet"),
    "yd": ("yd", "yard", "yards"),
    "mi": ("mi", "mile", "miles"),
    "s": ("s", "sec", "second", "seconds"),
    "min": ("min", "minute", "minutes"),
    "h": ("h", "hr", "hrs", "hour", "hours"),
    "day": ("day", "days"),
    "year": ("year", "years"),
    "g": ("g", "gram", "grams"),
    "kg": ("kg", "kilogram", "kilograms"),
    "cent": ("cent", "cents"),
    "dollar": ("dollar", "dollars", "usd"),
    "euro": ("euro", "euros", "eur"),
    "degree": ("degree", "degrees", "deg"),
    "radian": ("radian", "radians", "rad"),
}
_KNOWN = {spelling: name for name, spellings in _NAMES.items() for spelling in spellings}
_SHORT = {
    "m",
    "s",
    "h",
    "g",
    "L",
    "l",
    "J",
    "N",
    "V",
    "W",
    "A",
    "K",
    "C",
    "F",
    "cm",
    "mm",
    "km",
    "in",
    "ft",
    "yd",
    "mi",
}
_SHORT |= {"kg", "mg", "mL", "ml", "eV", "Hz", "Pa", "dB", "nm", "of", "no", "hr", "sq", "cu"}
_POWERS = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}
_COMPUTING = {
    *("times", "plus", "minus", "over", "divided", "choose", "factorial", "dozen", "hundred", "thousand", "million"),
    *("billion", "trillion", "half", "halves", "third", "thirds", "quarter", "quarters", "fourth", "fourths", "fifth"),
    *("fifths", "point", "base", "or", "and", "nor", "not", "but", "than", "mod", "modulo", "pi", "sqrt", "sin", "cos"),
    *("tan", "log", "exp", "infinity", "less", "more", "fewer", "greater", "if", "unless", "otherwise", "else", "was"),
    *(
        "is",
        "are",
        "be",
        "remainder",
        "twice",
        "double",
        "gross",
        "versus",
        "root",
        "power",
        "raised",
        "maybe",
        "perhaps",
    ),
    *("possibly", "approximately", "wrong", "incorrect", "because", "since", "so", "then", "thus", "hence", "does"),
    *("gives", "yields", "equals", "therefore", "which", "would", "could", "might", "until", "through", "with"),
}
_TRAILING = re.compile(
    r"(?P<value>.*?[\d})\]!]|.*?\\(?:pi|infty))(?P<words>(?:[\s/.-]*(?<![A-Za-z])[A-Za-z]+\b(?:\s*\^\s*(?:\{\s*-?\d\s*\}|-?\d))?)+)\.?",
    re.S,
)
_POWER = re.compile(r"\^\s*\{?\s*(-?\d)\s*\}?")
_DEGREE = re.compile(r"\s*\^\s*(?:\\circ|\{\s*\\circ\s*\})\s*(?:[CFK]\s*$)?|\s*\\degree\s*(?:[CFK]\s*$)?")
_PERCENT = re.compile(r"\s*(?:\\?%|\bpercent\b)\s*")
_CURRENCY = re.compile(
    "^(?P<sign>-?)\\s*(?:\\\\\\$|[\u00a3\u20ac\u00a5\u20b9]|\\\\(?:pounds|euro)\\b|(?:USD|EUR|Rs\\.?)\\s)\\s*|\\s*[\u00a3\u20ac\u00a5\u20b9]\\s*$"
)


@dataclass(frozen=True)
class WithUnit:
    value: str
    unit: str | None  # "cm^2"; None if there is none or it is unknown


def measured(text: str) -> WithUnit:
    """Split a text in plain notation into value and unit."""
    text = _PERCENT.sub(" ", text).strip()
    text = _CURRENCY.sub(lambda match: match["sign"] or "", text).strip()
    if "\\sin" not in text and "\\cos" not in text and "\\tan" not in text:
        without = _DEGREE.sub(" ", text).strip()
        if without != text:
            return WithUnit(without, "degree^1")
    match = _TRAILING.fullmatch(text) if re.search(r"[A-Za-z]", text[-12:]) else None
    if match is None or not _are_units(match["words"]):
        return WithUnit(text, None)
    return WithUnit(match["value"].strip(), _unit(match["words"]))


def _are_units(words: str) -> bool:
    """Whether all words may be units or nouns. A single letter must be a unit after a space."""
    found = re.findall(r"[A-Za-z]+", words)
    if not words[0].isspace() and not (len(found) == 1 and len(found[0]) > 1 and found[0] in _SHORT):
        return False
    if found[0].lower() in ("squared", "cubed"):
        return False
    return all((word in _SHORT or len(word) > 2) and word.lower() not in _COMPUTING for word in found)


def _unit(words: str) -> str | None:
    power = _POWER.search(words)
    exponent = int(power[1]) if power else 1
    names = [word if word in _SHORT else word.lower() for word in re.findall(r"[A-Za-z]+", words)]
    for name in names:
        exponent *= _POWERS.get(name, 1)
    known = [_KNOWN[name] for name in names if name in _KNOWN]
    if len(known) != 1 or len([name for name in names if name not in _POWERS]) != 1:
        return None
    return f"{known[0]}^{exponent}"
