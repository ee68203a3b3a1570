"""Parse the choice of one option of four: B, (B), "B", option B, B) because ..., B - 3.5 eV, B and not A.

The article in "a mixture" is not an option, and two options are not a choice ("B or C", "both A and D").
"""

from __future__ import annotations

import re

from s1.evaluate.grading.formula import TooLong, Unreadable
from s1.evaluate.grading.phrases import MAX_SENTENCE, Ambiguous, Denied

_LEAD = re.compile(
    r"^(?:[\s,:*#>-]+|(?:so|thus|hence|therefore|then|and|finally|clearly|simply|just|only|indeed|actually|definitely"
    r"|probably|likely|certainly|obviously|most likely"
    r"|(?:i|i'd|i would|we|let us)? ?(?:think|believe|choose|pick|select|go with)"
    r"|we (?:choose|pick|select|get|have)|it is|it's|it must be"
    r"|this is|that is|is|are|be|must be|should be|would be"
    r"|the|my|final|correct|right|best|only|answer|answers|option|choice|letter"
    r"|statement|that|given by|none other than)"
    r"(?![\w'.-]))",
    re.IGNORECASE,
)
_VERB = re.compile(
    r"\b(?:answer|option|choice|letter|statement|one|product|result|compound|solution)\b[^.;:?]*?"
    r"\b(?:is|are|be|(?P<weak>(?:may|might|could|can) be)"
    r"|(?P<no>is not|isn't|are not|cannot be|can't be))(?![\w'])\s*:?"
    r"|\b(?:corresponds to|matches|i choose|we choose|so it is)\b",
    re.IGNORECASE,
)
_LETTER = re.compile(
    r"(?P<open>[(\[{\"'`*_]|\\\{)*\s*(?P<letter>[A-Da-d])(?![A-Za-z0-9]|(?<!'.)')(?P<close>(?:\s?(?:[)\]}\"'`*]|\\\}))*)(?P<rest>.*)",
    re.DOTALL,
)
_OTHER = re.compile(
    r"^\s*(?:or|and/or|and|&|/|,|\+|;|nor|as well as|plus)\s*(?:also\s+|maybe\s+|perhaps\s+|possibly\s+|either\s+)?"
    r"(?:the\s+)?(?:option\s+|choice\s+)?[(\[\"']*[A-Da-d](?![A-Za-z0-9'])",
    re.IGNORECASE,
)
_LATER = re.compile(r"\bor\s+(?:option\s+|choice\s+)?(?:\([A-Da-d]\)|[A-Da-d]\)|[A-D](?=[\s.,;]*$))", re.IGNORECASE)
_LABEL = re.compile(r"(?<![A-Za-z(])(?<!not )[A-D]\)")
_FRAMED = re.compile(r"<([A-Da-d])>")
_DOUBT = re.compile(
    r"\?|\b(?:not sure|or maybe|or perhaps|or possibly|wait|no,|actually|however|alternatively)\b", re.IGNORECASE
)
_CLOSED = re.compile(r"^\s*$|^\s*[.:;,!](?=\s|$|\$|\\)|^\s*\(|^\s+(?:-{1,3}|\u2013|\u2014)(?=\s)|^\s*\u2014|^\s*=>")
_REASON = re.compile(
    r"^\s+(?:because|since|only\b(?! if)|as\b|due to|for\b|given|where|which|with|and not|not\b"
    r"|but not|rather than|instead of|over\b"
    r"|i think|i believe|i hope"
    r"|(?:is|must be|should be) (?:therefore |thus |indeed |clearly )?(?:the )?(?:only |most )?"
    r"(?:final |correct |right |best )*(?:answer|correct|right|true|best|option|choice|one)\b)",
    re.IGNORECASE,
)
_QUANTITY = re.compile(r"^\s+[-+]?(?:\\?[$(\\]|\d)")
_BARE_QUANTITY = re.compile(r"^\s+[-+]?\d[\d.,]*(?:\s*(?:\\cdot|\\times|\*)\s*10\^\{?-?\d+\}?)?\s*[^\s]{0,6}\s*\.?$")
_UNSETTLED = re.compile(
    r"\b(?:not|never|or|maybe|perhaps|possibly|might|could|cannot|unless|if)\b|n't\b", re.IGNORECASE
)
_CONTRAST = re.compile(r"^not\s+\(?[A-Da-d]\)?,?\s+but\s+(?:rather\s+)?", re.IGNORECASE)
_NAMED_LAST = re.compile(r"[^?]*\b(?:option|choice)\s+\(?(?P<letter>[A-D])\)?[\s.]*")
_NEGATIVE = re.compile(r"^(?:not|neither|none|all|both|either|any|no)\b", re.IGNORECASE)
_REJECTED = re.compile(r"^\s+(?:is|are|was|can|cannot|does|do|and|or|must|may|might|could)\b", re.IGNORECASE)


def letter_of(statement: str) -> str:
    """Find the letter that a statement in plain notation chooses. Raises Unreadable, Ambiguous or Denied."""
    if len(statement) > MAX_SENTENCE:
        raise TooLong("a statement")
    error: Unreadable = Unreadable(statement)
    for text in _readings(statement):
        try:
            return _chosen(text)
        except Unreadable as found:
            error = found if not isinstance(error, Ambiguous | Denied) else error
    raise error


def _readings(statement: str) -> list[str]:
    """The statement, and the part after the last verb about the answer."""
    verbs = list(_VERB.finditer(statement))
    if not verbs:
        return [statement]
    verb = verbs[-1]
    if verb["weak"]:
        raise Ambiguous(statement)
    rest = statement[verb.end() :]
    return [statement, f"not {rest}" if verb["no"] else rest]


def _chosen(text: str) -> str:
    while lead := _LEAD.match(text):
        text = text[lead.end() :]
    text = _FRAMED.sub(r"\1", _CONTRAST.sub("", text))
    named = _NAMED_LAST.fullmatch(text)
    if named and len(re.findall(r"\b[A-D]\b", text)) == 1 and not _UNSETTLED.search(text):
        return named["letter"]
    if _NEGATIVE.match(text):
        if text.lower().startswith("not "):
            raise Denied(text[4:].strip(" ."))
        raise Ambiguous(text)
    match = _LETTER.match(text)
    if match is None:
        raise Unreadable(text)
    letter, rest, framed = match["letter"], match["rest"], bool(match["close"])
    if _OTHER.search(rest) or _LATER.search(rest) or _LABEL.search(rest) or _DOUBT.search(rest.partition(". ")[0][:80]):
        raise Ambiguous(text)
    if _DOUBT.match(rest.partition(". ")[2].strip()):
        raise Ambiguous(text)
    if _REASON.search(rest) or _CLOSED.search(rest) or (framed and not _REJECTED.search(rest)):
        return letter.upper()
    if _QUANTITY.search(rest) and (letter not in "Aa" or (letter == "A" and _BARE_QUANTITY.search(rest))):
        return letter.upper()
    raise Unreadable(text)
