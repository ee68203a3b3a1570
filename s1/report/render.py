"""Render templates: the filters that turn numbers into words, and figures that are part of a page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from s1.generate.methods.method import suppresses_ends
from s1.plots.canvas import FAINT, INK, INVALID, LINES, RULE, Drawing
from s1.report import format
from s1.report.findings import Frontier, MeasuredPoint, Series, Settling
from s1.report.vendor import embedded

FIGURES = "figures"
NAMED = 5  # labels of points that are left out; more are counted


def write_drawings(out: Path, figures: Sequence[Drawing]) -> None:
    """Write each figure as figures/<name>.png, .svg and .pdf."""
    (out / FIGURES).mkdir()
    for drawing in figures:
        (out / FIGURES / f"{drawing.name}.png").write_bytes(drawing.png)
        (out / FIGURES / f"{drawing.name}.svg").write_text(drawing.svg, encoding="utf-8")
        (out / FIGURES / f"{drawing.name}.pdf").write_bytes(drawing.pdf)


def render(template: str, page: object) -> str:
    """Render a template; unknown names are errors, and HTML templates escape values."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=lambda name: name is not None and ".html" in name,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "separators": (",", ":")}
    environment.filters.update(
        embedded=embedded,
        value=format.value,
        interval=format.interval,
        per_point=format.per_point,
        full=format.full,
        accuracy=accuracy,
        sources=sources,
        answer=format.answer,
        percent=format.percent,
        kept=kept,
        settled=settled,
        frontier=frontier_in_words,
        duration=format.duration_text,
        short_time=format.short_time,
        price=format.price,
        money=format.money,
        typeset=typeset,
        cell=format.cell,
        code=format.code,
        prose=format.prose,
        indented=format.indented,
        inline_svg=inline_svg,
    )
    return environment.get_template(template).render(page=page)


def inline_svg(drawing: Drawing, title: str) -> Markup:
    """Embed a figure in the page: scaled by the page, in the page's colours, with unique ids."""
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", drawing.svg[drawing.svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'role="img"', svg, count=1)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{drawing.name}-", svg)
    for colour, name in _page_colours(LINES).items():
        svg = svg.replace(colour, f"var(--{name})")
    return Markup(svg.replace(">", Markup("><title>{}</title>").format(title), 1))


def _page_colours(lines: Sequence[str]) -> dict[str, str]:
    fixed = {INK: "ink", FAINT: "faint", RULE: "rule", INVALID: "invalid"}
    return {**fixed, **{colour: f"line-{index}" for index, colour in enumerate(lines)}}


def accuracy(point: MeasuredPoint) -> str:
    """`64.3` percent, with an upper bound if the context cut answers."""
    share = format.percent(point.accuracy.value)
    if point.accuracy_if_cut_right is None:
        return share
    return f"{share}, at most {format.percent(point.accuracy_if_cut_right)} if the cut answers were right"


def kept(series: Series) -> str:
    """A sentence for a series whose traces all got the requested compute; otherwise ""."""
    if any(not point.valid or point.audit.unmet for point in series.points):
        return ""
    budgets = [point.request.budget for point in series.points]
    if not any(each.max_thinking_tokens is not None or suppresses_ends(each) for each in budgets):
        text = "Nothing was forced."
    else:
        text = "Every trace kept the budget that was forced on it."
    if any(point.request.instruction for point in series.points):
        text += " What a prompt asks for in words is not forced: see Control."
    if any(point.audit.thinks_on_share for point in series.points):
        text += " Some traces think again in their answer, which no budget bounds."
    return text


def settled(settling: Settling) -> list[str]:
    """Sentences on where the answers of a line settle and how many right ones are lost."""
    traces, lost = len(settling.traces), len(settling.lost)
    answered = traces - settling.unanswered
    found = [f"Order of the line: {', '.join(each.label for each in settling.points)}."]
    for labels, reason in ((settling.invalid, "failed the audit"), (settling.apart, "do not extend the point before")):
        if labels:
            named = ", ".join(labels) if len(labels) <= NAMED else f"{len(labels)} points"
            found.append(f"Left out, as they {reason}: {named}.")
    if settling.median_tokens is not None:
        found.append(
            f"{answered} of {traces} traces have an answer at the end of the line; half of these answers have settled"
            f" after {format.tokens(settling.median_tokens)} thinking tokens."
        )
    if settling.share_after is not None:
        found.append(f"{format.full(settling.share_after)} of their thinking came after the answer had settled.")
    found.append(f"Right at some point and lost by thinking on: {lost} of {traces} traces.")
    return found


def frontier_in_words(frontier: Frontier) -> str:
    """A sentence on who is on the front, and how sure that is."""
    named = [f"{point.name} ({format.percent(point.front_share)}%)" for point in frontier.front]
    return (
        f"On the Pareto front of {len(frontier.points)} points, with the share of resamples of questions in which each"
        f" is on it: {', '.join(named)}."
    )


def sources(point: MeasuredPoint) -> list[str]:
    """`scores/41687fbbc3b5@9c1f`, one per seed."""
    return [f"scores/{source.cited}" for source in point.sources]


def typeset(text: str) -> str:
    """Typeset numbers: a true minus sign, and no line break inside an interval."""
    with_minus = re.sub(r"(?<![\w.])-(?=\d)", "\u2212", text)
    return re.sub(r"\[[^\]]*\]", lambda found: found[0].replace(" ", "\u00a0"), with_minus)
