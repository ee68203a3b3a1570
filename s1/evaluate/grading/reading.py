r"""Find the places where a text may state its answer: candidates in order of authority.

    1. the content of complete \boxed{...} and \fbox{...}, from the last backwards;
       boxes with nothing but "and", "or" or a comma between them are one statement
    2. the text after "Answer:", "answer is", "the correct option is" or a heading **Final Answer**, from the last
       backwards: the rest of the line, or the formula or line below it
    3. the whole text, if it is one line or one displayed formula

The grader uses the first candidate that it can parse. Scanning takes time linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from itertools import islice


class AnswerPlace(Enum):
    BOX = "box"
    STATEMENT = "statement"  # on the line of its marker
    BELOW = "below"  # on a separate line below the marker
    WHOLE = "whole"


@dataclass(frozen=True)
class AnswerCandidate:
    text: str
    origin: AnswerPlace
    negated: bool = False  # "the answer is not \boxed{42}"


@dataclass(frozen=True)
class Box:
    start: int
    inner: slice
    end: int


_BRACE = re.compile(
    r"(?P<box>\\(?:boxed|fbox)\s*\{)|(?P<bare>\\boxed\s+(?=[^\s{$\\])|\\boxed(?=\d))|\\.|[{}]", re.DOTALL
)
_BARE = re.compile(r"[^\s{}$,;]+")
_BETWEEN = re.compile(
    r"[ \t$,;\\()\[\]]*(?:\s*(?P<word>and|or|\\text\{\s*(?:and|or)\s*\})\s*)?[ \t$,;\\()\[\]]*", re.IGNORECASE
)
_NOT_BOX = re.compile(r"(?:\bnot|n't|\bnever|\bneither|\bnor)\s*(?:equal\s+to\s*)?[\s$\\(\[*:]*$", re.IGNORECASE)
_NOT_AFTER = re.compile(
    r"[\s$\\)\]}*.,]*(?:but\s+)?(?:that|this|it|which)?\s*(?:is|was|isn't|wasn't)\s+"
    r"(?:not (?:(?:the )?(?:final |correct |right )?answer|correct|right)\b|wrong|incorrect|false|a mistake)\b",
    re.IGNORECASE,
)
_NOT_TRUE = re.compile(
    r"(?:\bfalse|\bdoubt|\bnot (?:true|sure|certain|clear|think|believe)|n't (?:think|believe)|\bunlikely|\bwhether)\b"
    r"[^.:\n]{0,30}$",
    re.IGNORECASE,
)
_NOUN = r"(?:(?:final|correct|right|best|only)[ \t_]+){0,3}answers?(?:[ \t]+(?:choice|option|key|letter))?"
_OPTION = r"(?:correct|right|best)[ \t]+(?:option|choice|letter|statement|one)"
_MARKER = re.compile(
    rf"<answer>|\b(?:{_NOUN}|{_OPTION})\b(?:[ \t]*\([^()\n]{{0,40}}\))?[*_}}`\"']*"
    r"(?:[ \t]+(?:to|for|of|in)[ \t][^.:=\n]{1,120}?)??[ \t]*"
    r"(?:[*_}`]*(?:->|=>|\u2192|[:=\uff1a](?!=))(?:</[a-z]+>)?|\\?:"
    r"|(?:\b(?:is|are|equals|(?:must|should|would|will|has[ \t]+to|have[ \t]+to)[ \t]+be)\b(?:[ \t]*:)?))[*_}`]*",
    re.IGNORECASE,
)
_FOREIGN = re.compile(
    '\u7b54\u6848[*"]*\\s*[:\uff1a\u662f\u4e3a\u70ba]'
    "|(?<!\\w)(?:r\u00e9ponse|respuesta|resposta|risposta|antwort"
    "|\u043e\u0442\u0432\u0435\u0442)\\b[ \u00a0\\w]{0,20}[*]*[:\uff1a]",
    re.IGNORECASE,
)
_JSON = re.compile(r'\s*(?:(?P<quote>["\'])(?P<text>(?:[^"\'\\]|\\.)*)(?P=quote)|(?P<number>-?[\d.]+))(?=\s*[,}])')
_HEADING = re.compile(
    r"^[ \t#>*_-]*(?:<\w+>){0,3}(?:\\(?:textbf|textit|(?:sub)*section|paragraph)\*?[ \t]*\{)?(?:the[ \t]+|my[ \t]+)?"
    r"(?P<noun>(?:final[ \t]+|correct[ \t]+)?answers?)[*_}#:.` \t]*(?:</\w+>){0,3}$",
    re.IGNORECASE | re.MULTILINE,
)
_FINAL = re.compile(r"^[ \t#>*_-]*final[ \t]+answer(?:[*_}`]+[ \t]*|[ \t]+)(?=[^\s:*_=])(?!is\b|are\b)", re.I | re.M)
_NOTHING = re.compile(r"\s*```[a-z]*\s*|[\s*_`#>:.}-]*")
_QUOTED = re.compile(r"^[ \t]*>[ \t]+(?=\*\*|[$\\])")
_OPTIONS = re.compile(r"\W*A[).:][^\n]*\n\W*B[).:]")
_OPEN_END = re.compile(r"(?:[:=]|\b(?:is|are|be|equals?|get|of))[ \t*]*$")
MAX_STATEMENT = 4_000  # characters; longer text is cut to one more, so that a parser notices
MAX_CANDIDATES = 40  # maximum number of boxes, and of statements, counted from the end
_CLOSERS = {"\\[": "\\]", "$$": "$$", "\\(": "\\)"}
_SENTENCE_END = re.compile(r"[.!?][)\]\"'*_$}]*(?=\s)")


def answer_candidates(text: str) -> Iterator[AnswerCandidate]:
    """Yield the places where the text may state its answer, the most authoritative first."""
    yield from islice(_boxed(text), MAX_CANDIDATES)
    for start, end in reversed(_markers(text)[-MAX_CANDIDATES:]):
        statement = _json(text, start, end) or _statement(text, end)
        if statement is not None:
            negated = _NOT_TRUE.search(text[max(0, start - 80) : start]) is not None
            yield replace(statement, negated=negated)
    whole = _whole(text)
    if whole is not None:
        yield AnswerCandidate(whole[: MAX_STATEMENT + 1], AnswerPlace.WHOLE)


def complete_statements(text: str) -> str:
    """The complete part of an answer that was cut off: up to the end of its last closed box, line or sentence.

    A full stop at the very end is no end of a sentence: `12.` may have gone on to 12.5.
    """
    ends = [0, text.rfind("\n") + 1]
    ends.extend(match.end() for match in _SENTENCE_END.finditer(text))
    ends.extend(box.end for box in closed_boxes(text))
    return text[: max(ends)]


def closed_boxes(text: str) -> list[Box]:
    """The outermost complete boxes, in order."""
    boxes: list[Box] = []
    opened: list[tuple[int, int] | None] = []  # start of the box and of its content; None: another brace
    for match in _BRACE.finditer(text):
        if match["box"]:
            opened.append((match.start(), match.end()))
        elif match["bare"]:
            content = _BARE.match(text, match.end())
            if content:
                boxes.append(Box(match.start(), slice(content.start(), content.end()), content.end()))
        elif match[0] == "{":
            opened.append(None)
        elif match[0] == "}" and opened and (start := opened.pop()) is not None:
            while boxes and boxes[-1].start > start[0]:
                boxes.pop()
            boxes.append(Box(start[0], slice(start[1], match.start()), match.end()))
    return boxes


# --------------------------------------------------------------------------------------------- boxes


def _boxed(text: str) -> Iterator[AnswerCandidate]:
    boxes = [box for box in closed_boxes(text) if box.inner.start < box.inner.stop]
    while boxes:
        joined = [boxes.pop()]
        words = []
        while boxes and (between := _BETWEEN.fullmatch(text, boxes[-1].end, joined[-1].start)):
            words.append("or" if "or" in (between["word"] or "").lower() else ",")
            joined.append(boxes.pop())
        joined.reverse()
        parts = [text[box.inner][: MAX_STATEMENT + 1].strip().rstrip(",;") for box in joined[-MAX_CANDIDATES:]]
        statement = parts[0] if len(set(parts)) == 1 else f" {'or' if 'or' in words else ','} ".join(parts)
        before = text[max(0, joined[0].start - 60) : joined[0].start]
        if statement:
            after = text[joined[-1].end : joined[-1].end + 60]
            negated = (_NOT_BOX.search(before) or _NOT_AFTER.match(after)) is not None
            yield AnswerCandidate(statement[: MAX_STATEMENT + 1], AnswerPlace.BOX, negated)


# ---------------------------------------------------------------------------------------- statements


def _markers(text: str) -> list[tuple[int, int]]:
    """Begin and end of markers, in the order of their statements."""
    markers = [match.span() for pattern in (_MARKER, _FINAL, _HEADING, _FOREIGN) for match in pattern.finditer(text)]
    starts = {end: start for start, end in markers}
    return [(start, end) for end, start in sorted(starts.items())]


def _json(text: str, start: int, end: int) -> AnswerCandidate | None:
    """The value of the JSON key "answer"."""
    match = _JSON.match(text, end) if text[max(0, start - 1) : start] in ("'", '"') else None
    if match is None:
        return None
    value = match["number"] or match["text"].replace("\\\\", "\\")
    return AnswerCandidate(value[: MAX_STATEMENT + 1], AnswerPlace.STATEMENT)


def _statement(text: str, start: int) -> AnswerCandidate | None:
    """The statement after a marker: on its line, or below it if the line ends there."""
    line, end = _line(text, start)
    if not _NOTHING.fullmatch(line):
        opening = next((each for each in _CLOSERS if line.strip().startswith(each)), None)
        if opening and _CLOSERS[opening] not in line.strip()[len(opening) :]:
            shown = _block(text, text.index(opening, start))
            return AnswerCandidate(shown, AnswerPlace.STATEMENT) if shown else None
        if _OPEN_END.search(line) and (below := _block(text, end, extend=False)):
            line = f"{line} {below}"
        elif "\\begin{" in line:
            line = _environments(text, start)
        return AnswerCandidate(line.strip(), AnswerPlace.STATEMENT)
    below = None if _OPTIONS.match(text, end) else _block(text, end)
    shown = text[end : end + 200].lstrip(" \t\n*>").startswith(tuple(_CLOSERS))
    return AnswerCandidate(below, AnswerPlace.STATEMENT if shown else AnswerPlace.BELOW) if below else None


def _block(text: str, start: int, extend: bool = True) -> str | None:
    """The next formula or line with more than emphasis marks; None if there is none or it is not closed."""
    while start < len(text):
        line, end = _line(text, start)
        if not _NOTHING.fullmatch(line):
            break
        start = end + 1
    else:
        return None
    content = line.lstrip(" \t*>")
    opening = next((each for each in _CLOSERS if content.startswith(each)), None)
    if opening:
        begin = text.index(opening, start) + len(opening)
        closed = text.find(_CLOSERS[opening], begin, begin + MAX_STATEMENT)
        if closed < 0:
            return None
        inner = text[begin:closed].strip()
        rest, _ = _line(text, closed + len(opening))
        return " ".join(inner.split()) if _NOTHING.fullmatch(rest) else f"{' '.join(inner.split())} {rest.strip()}"
    if extend and _OPEN_END.search(line) and (below := _block(text, end, extend=False)):
        return f"{line.strip()} {below}"
    if "\\begin{" in line:
        return _environments(text, start)
    return _QUOTED.sub("", line).strip()


def _line(text: str, start: int) -> tuple[str, int]:
    """The rest of the line from a position, and where it ends; cut to the limit of a statement."""
    end = text.find("\n", start)
    end = len(text) if end < 0 else end
    return text[start : min(end, start + MAX_STATEMENT + 1)], end


def _environments(text: str, start: int) -> str:
    """The rest of the line from a position, including the environment that it opens."""
    line, end = _line(text, start)
    closed = text.rfind("\\end{", start, start + 5_000)
    if line.count("\\begin{") > line.count("\\end{") and closed >= 0:
        end = _line(text, closed)[1]
    return " ".join(text[start : min(end, start + MAX_STATEMENT + 1)].split())


def _whole(text: str) -> str | None:
    """The text if it is one line or one displayed formula, else None."""
    lines = [line for line in text.splitlines() if not _NOTHING.fullmatch(line)]
    if len(lines) == 1:
        return lines[0].strip()
    stripped = text.strip()
    for opening, closing in _CLOSERS.items():
        inner = stripped[len(opening) : -len(closing)]
        if stripped.startswith(opening) and stripped.rstrip(".").endswith(closing) and "\n\n" not in inner:
            inner = stripped.rstrip(".")[len(opening) : -len(closing)]
            return " ".join(inner.split()) if closing not in inner else None
    return None
