"""Format user text for Markdown and numbers for people.

User text stays within its cell or paragraph and cannot inject HTML or code. Shares are printed as percent, differences
with a sign, a missing value as "none".
"""

from __future__ import annotations

import re

from s1.stats.interval import Estimate
from sweep.printable import printable


def prose(text: str) -> str:
    """Escape text for a paragraph or heading: one line, HTML shown literally."""
    on_one_line = printable(text).replace("\n", "\\n")
    return re.sub(r"&(?=#?\w+;)", "&amp;", on_one_line).replace("<", "&lt;")


def cell(text: str) -> str:
    """Escape text for a table cell or a name: like `prose`, with pipes and backticks escaped too."""
    with_pipes = re.sub(r"(\\*)([|`])", lambda found: f"{found[1] * 2}\\{found[2]}", prose(text))
    return re.sub(
        r"\\+\Z", lambda found: found[0] * 2, with_pipes
    )  # a trailing backslash would escape the bar behind it


def code(text: str) -> str:
    """Format text as code in a table cell, even if it contains backticks."""
    plain = re.sub(r"(\\*)\|", r"\1\\|", printable(text).replace("\n", "\\n"))
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", plain)), default=0))
    space = " " if len(fence) > 1 else ""
    return f"{fence}{space}{plain}{space}{fence}"


def indented(text: str) -> str:
    """Format text as an indented code block."""
    return "    " + printable(text).replace("\n", "\n    ")


MISSING = "none"


def value(estimate: Estimate | None) -> str:
    """`61.0%`, `+18.0`, `28.7`, `1,234`: the number in the format of its unit, without its interval."""
    if estimate is None:
        return MISSING
    if estimate.unit == "share":
        return f"{percent(estimate.value)}%"
    if estimate.lo is None and estimate.unit == "tokens":
        return f"{estimate.value:,.0f}"  # a count
    return _bare(estimate.value, estimate.unit)


def interval(estimate: Estimate | None) -> str:
    """`[55.4, 66.3]`, or "" if there is no interval."""
    if estimate is None or estimate.lo is None or estimate.hi is None:
        return ""
    if estimate.unit == "share":
        return f"[{percent(estimate.lo)}, {percent(estimate.hi)}]"
    return f"[{_bare(estimate.lo, estimate.unit)}, {_bare(estimate.hi, estimate.unit)}]"


def full(estimate: Estimate | None) -> str:
    """`61.0% [55.4, 66.3]`."""
    return f"{value(estimate)} {interval(estimate)}".rstrip()


def percent(share: float | None) -> str:
    """A share as percent with one decimal, without the percent sign."""
    return MISSING if share is None else f"{100 * share:.1f}"


ANSWER_SHOWN = 40  # characters


def answer(text: str | None) -> str:
    """An answer as the grader read it, shortened to fit a table; "no answer" if there is none."""
    if text is None:
        return "no answer"
    line = " ".join(printable(text).split())
    return line if len(line) <= ANSWER_SHOWN else f"{line[:ANSWER_SHOWN]}..."


def tokens(number: float) -> str:
    """`29.5`, `29`, `1,234`: a number of tokens, with a decimal only if it is small and not whole."""
    return f"{number:,.0f}" if number >= 1000 or number == round(number) else f"{number:.1f}"


def money(usd: float) -> str:
    """USD with two decimals, or more for the small amounts of a laptop."""
    if usd >= 1:
        return f"{usd:,.2f}"
    return f"{usd:.4f}" if usd >= 0.01 else f"{usd:.6f}"


def duration_text(seconds: float) -> str:
    """`1.5 h`, `12 min`, `8.2 s`: no more digits than an estimate deserves."""
    if seconds >= 5400:
        return f"{seconds / 3600:,.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.1f} s"


def short_time(seconds: float) -> str:
    """A time that may be far below a second: `0.00021 s`, `1.5 h`."""
    return duration_text(seconds) if seconds >= 1 else f"{seconds:.2g} s"


def price(usd: float) -> str:
    """An amount of USD that may be far below a cent: `3.2e-07`, `1,234.50`."""
    return money(usd) if usd >= 0.01 else f"{usd:.2g}"


def per_point(usd: float | None) -> str:
    """USD for a percentage point of accuracy; None: the difference is not measurable, so there is no such price."""
    return "not measurable" if usd is None else price(usd)


def _bare(number: float, unit: str) -> str:
    if unit.startswith("pp"):
        return f"{number:+.1f}" if round(number, 1) else "0.0"
    if unit == "USD":
        return money(number)
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.1f}"
