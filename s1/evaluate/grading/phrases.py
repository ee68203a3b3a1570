r"""Extract the value that a sentence states, without its introduction and side remarks.

    The sum is 73 + 4 = 77, since n = 4.       ->  73 + 4 = 77
    There are 5 apples.                        ->  5 apples
    25, with x = 5                             ->  25

Raises Ambiguous for a sentence that hedges ("at least 42", "might be 42", "42? No, 43") and Denied for one that says
what the answer is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from s1.evaluate.grading.formula import TooLong, Unreadable

MAX_SENTENCE = 3_500  # characters
MAX_VERBS = 12


class Ambiguous(Unreadable):
    """The text names more than one answer, or hedges."""


class Denied(Unreadable):
    """The text says that this value is not the answer."""

    def __init__(self, value: str) -> None:
        super().__init__(value)
        self.value = value


_SENTENCE = re.compile(r"(?<!\b[a-zA-Z])(?<!\.)\.(?=\s)|(?<=\b[a-zA-Z])\.(?=\s+[A-Z])|!(?=\s+[A-Z])|(?=\?)")
_RETRACTED = re.compile(
    r"^\s*(?:no\b|wait\b|actually\b|sorry\b|hmm\b|oops\b|correction\b|or rather\b|but (?:wait|no)\b|scratch that\b"
    r"|(?:but|however|alternatively|hold on)\b|(?:but )?th(?:at|is)(?:'s| is| was) (?:wrong|not"
    r"|incorrect)\b|i made a (?:mistake|error)\b|let me (?:re|check|correct))",
    re.IGNORECASE,
)
_ASIDE = re.compile(
    r"(?:\s*[,;:]\s*|\s+|\s*-{1,3}\s*|\s*\u2014\s*)\(?(?:with|since|because|where|as|when|which|whose|given|for|by|using"
    r"|assuming|due to|after|obtained|found|achieved|attained|occurring|reached|not|and not|but not|rather than|"
    r"instead of|provided|i hope|i think|i believe|hope|in total|in all|altogether|respectively|as required"
    r"|as desired|as claimed|at|from|follows|corresponding|between|such that|satisfying|(?:i am|i'm)(?! not\b)"
    r"|confidence)\b(?!\s*$).*$",
    re.IGNORECASE,
)
_TAIL = re.compile(
    r"[,;]?\s*(?:(?<=, )(?:the|an?) [A-Za-z ]+|in total|in all|altogether|respectively|i (?:think|believe|hope|guess)"
    r"|as (?:required|desired|claimed)|overall)\s*$",
    re.I,
)
_DASHED = re.compile(
    r"\s+(?:-{1,3}|\u2013|\u2014)\s+(?=[A-Za-z]{2,}\b(?!\s*[=^_+*/({])).*$|\u2014(?=\s*[A-Za-z]{2,}).*$"
)
_NOTE = re.compile(
    r"\s*(?:(?<=[\d})\]])\s*\\approx\s*-?\d*\.\d+|\\pmod\s*(?:\{[^{}]*\}|\d+)|(?:\\[bp]?mod|\bmod"
    r"|\bmodulo)\s*\{?[\w ]+\}?"
    r"|,?\s*\(\s*(?:\\?mod\b|since\b|because\b|as\b|where\b"
    r"|with\b|i\.e\.|that is\b|not\b|\d+\s*\\?%\s+[a-z]|confiden|see\b[^()]*\([^()]*\)|[a-z]\w*\s*="
    r"|see\b|from\b|by\b|using\b|for\b|when\b"
    r"|given\b|i think\b|[a-z]+-[a-z]+\s*\)"
    r"|[A-Za-z]{3,}(?:\s+[A-Za-z.]{2,})*\s*\))[^()]*\)?)\s*$",
    re.IGNORECASE,
)
_HEDGED_NOTE = re.compile(
    r"\((?:[^()]*\b)?(?:or|maybe|perhaps|possibly|approx\w*|about|roughly|unless|unsure|if)\b[^()]*\)\s*$", re.I
)
_AFTER_VALUE = re.compile(
    r",?\s+(?:is|are|was)\s+(?:therefore\s+|thus\s+|indeed\s+|clearly\s+)?(?:the|our|my|a)?\s*(?:only\s+|final\s+|correct\s+|right\s+|desired\s+"
    r"|required\s+|best\s+)*(?:answers?|correct|right|result|value|solution|option|choice|true|one)\b.*$",
    re.IGNORECASE,
)
_WRONG = re.compile(
    r"\b(?:is|are)\s+(?:not|never|wrong|incorrect|false|impossible|neither)\b|\bis(?:n't| not)\b", re.IGNORECASE
)
_COPULA = re.compile(
    r"\b(?:(?P<weak>may|might|could|can|cannot|can't|couldn't)(?:\s+(?:well|also|not|only))?\s+(?:be|equal)"
    r"|(?P<no>isn't|aren't|wasn't|doesn't equal|does not equal|is not|are not|is never|not equal to)"
    r"|is|are|was|be|equals?|becomes|equal to|gives|yields|(?<!to )(?<!must )(?:get|obtain|have"
    r"|find)|(?<!answer )has|found to be)(?![\w'-])"
    r"|(?P<colon>(?<=[A-Za-z]{3})\s?:(?=\s))",
    re.IGNORECASE,
)
_FILLER = re.compile(
    r"^(?:[\s,:*]+|=>|->|\\(?:to|rightarrow|Rightarrow|implies|therefore)\b|\u2192|\u21d2|\u2234|(?:so|thus|hence|therefore|then|and|finally|now|again|clearly|simply|just|exactly|precisely|only|indeed"
    r"|also|still|actually|definitely|certainly|obviously|probably|likely|equal to|given by|a total of|in total"
    r"|as follows|equals|that|we get|we have|we obtain|we find|i get|i think|i believe|it is|it's|this is|there are"
    r"|there is|answer(?!\s*-)|the answer|the final answer|the (?:value|number|integer|expression"
    r"|fraction|interval|set|point"
    r"|pair|triple|ordered pair|ordered triple|vector|matrix|equation|function|polynomial)(?: of)?|option|choice)"
    r"(?![\w'])(?!\s*[=^_+*/(]))",
    re.IGNORECASE,
)
_HEDGE = re.compile(
    r"^(?:maybe|perhaps|possibly|approximately|approx\.?|about|around|roughly|nearly|almost|between|at least|at most"
    r"|more than|less than|greater than|fewer than|no more than|no less than|no fewer than|up to|over|under|above|below"
    r"|either|neither(?=\s+\S)|both|unknown|unclear|not sure|some|one of|any|bounded|close to"
    r"|strictly|a multiple of|divisible"
    r"|\\approx|\\sim|\\simeq|\\le|\\ge|\\leq|\\geq|\\pm|[<>])(?![A-Za-z])",
    re.IGNORECASE,
)
_PREMISE = re.compile(r"^(?:let(?:'s)?|suppose|assum(?:e|ing)|given|recall|consider|note|to [a-z]+)\b", re.IGNORECASE)
_CONCLUDED = re.compile(
    r"(?:^|[.!:]\s+|\n)(?:so|thus|therefore|hence|then|finally|adding|subtracting|multiplying|dividing|summing|in total"
    r"|we get|this gives)\b[^.]*\d",
    re.IGNORECASE,
)
_NOT = re.compile(r"^(?:not|never|n't)\b(?:\s+(?:equal to|necessarily))?", re.IGNORECASE)
_BUT = re.compile(r"\b(?:but|however|although|though|otherwise|else|unless|depending)\b", re.IGNORECASE)
_CONDITION = re.compile(
    r"\b(?:but|however|although|though|otherwise|else|unless|depending|if|or so|or more|or less)\b|\?",
    re.IGNORECASE,
)
_CONTINUED = re.compile(r",\s*(?:is|are|equals|and|or|but|so|then)\b", re.IGNORECASE)  # ..., with order, is 42
_VERB_END = re.compile(r"\b(?:is|are|was|be|equals?|do|does|of|the|to)$", re.IGNORECASE)
_LISTED = re.compile(r"\W*-?\d[\d.,]*\s*(?:,|;|and\b|or\b|but\b)", re.IGNORECASE)
_WRITTEN = re.compile(
    r"\s(?:(?:can|may) (?:also )?be |is |are )?"
    r"(?:expressed|written|rewritten|simplified|simplifies|represented) (?:as|to)\s",
    re.IGNORECASE,
)


def values(statement: str) -> Iterator[str]:
    """Values that a statement in plain notation may state, in order: all of it, then the part after each verb.

    Raises Ambiguous, Denied or TooLong instead of a value; that a value cannot be read is for the caller to see.
    """
    sentence = first_sentence(statement).removesuffix(".")
    if _PREMISE.match(_without_fillers(sentence)):
        raise Unreadable(sentence)
    if len(sentence) > MAX_SENTENCE:
        raise TooLong("a sentence")
    sentence = _WRITTEN.sub(" is ", sentence)
    if not _WRONG.search(sentence):
        sentence = _AFTER_VALUE.sub("", sentence)
    yield _value(sentence)
    for copula in islice(_COPULA.finditer(sentence), MAX_VERBS):
        if copula["weak"]:
            raise Ambiguous(sentence)
        rest = sentence[copula.end() :]
        if copula["no"]:
            raise Denied(rest.strip(" ."))
        if _BUT.search(sentence[: copula.start()]):
            raise Ambiguous(sentence)
        try:
            value = _value(rest)
        except Unreadable:
            if not _COPULA.search(rest):
                raise
            continue  # the number of integers that are at most 42 is 7
        yield value
        if _LISTED.match(rest):  # x is 3 and y is 4
            raise Ambiguous(sentence)


def _value(text: str) -> str:
    """Remove the introduction and side remarks around a value."""
    value = _without_fillers(_without_asides(text))
    value = re.sub(r"^(?:minus|negative)\s+(?=[\d\\])", "-", value, flags=re.IGNORECASE)
    if negation := _NOT.match(value):
        raise Denied(value[negation.end() :].strip(" ."))
    if _HEDGE.match(value) or _CONDITION.search(value):
        raise Ambiguous(value)
    return value.strip(" \t*,;:").removesuffix(".").strip()


def first_sentence(statement: str) -> str:
    """The first sentence. Raises Ambiguous if it is a question, or if the rest retracts or extends it."""
    match = _SENTENCE.search(statement)
    if match is None:
        return statement.strip()
    rest = statement[match.end() :]
    listed = re.fullmatch(r"\d{1,2}", statement[: match.start()].strip()) and re.match(r"\s+[-$\\]*\d", rest)
    if rest.startswith("?") or _RETRACTED.search(rest) or _CONCLUDED.search(rest.strip()) or listed:
        raise Ambiguous(statement)
    return statement[: match.start()].strip()


def _without_asides(sentence: str) -> str:
    """Remove side remarks from a sentence: in brackets, after a comma or after a dash."""
    if _HEDGED_NOTE.search(sentence):
        raise Ambiguous(sentence)
    for pattern in (_DASHED, _ASIDE, _TAIL, _NOTE, _NOTE):
        match = pattern.search(sentence)
        if match is None or match.start() == 0:
            continue
        before = sentence[: match.start()].rstrip()
        if re.search(r"[\d})\]\w%$!|]$", before) and not _CONTINUED.search(match[0]) and not _VERB_END.search(before):
            sentence = before
    return sentence


def _without_fillers(text: str) -> str:
    while filler := _FILLER.match(text):
        text = text[filler.end() :]
    return text
