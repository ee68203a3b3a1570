"""The sections of report.html, in the order in which a reader wants them, and which of them a page has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from s1.report.page import Page


@dataclass(frozen=True)
class Section:
    id: str
    title: str
    template: str
    is_shown: Callable[[Page], object] = lambda page: True


SECTIONS = (
    Section("verdict", "Verdict", "html/verdict.html.jinja"),
    Section("curve", "Scaling curve", "html/curve.html.jinja"),
    Section("points", "Points", "html/points.html.jinja"),
    Section("question", "The traces", "html/single_question.html.jinja", lambda page: page.findings.traces),
    Section("traces", "Trace browser", "browser/traces.html.jinja", lambda page: page.traces),
    Section("differences", "Paired differences", "html/differences.html.jinja"),
    Section("samples", "Several samples", "html/samples.html.jinja", lambda page: page.sampled),
    Section("paper", "Beside the paper", "html/paper.html.jinja", lambda page: page.paper),
    Section("seeds", "Seeds", "html/seeds.html.jinja", lambda page: page.several_seeds),
    Section("engines", "Engines side by side", "html/engines.html.jinja", lambda page: page.findings.agreements),
    Section("settling", "Where answers settle", "html/settling.html.jinja", lambda page: page.findings.settling),
    Section("frontier", "Frontier", "html/frontier.html.jinja", lambda page: page.findings.frontiers),
    Section("audit", "Forcing audit", "html/audit.html.jinja"),
    Section("cost", "Cost", "html/cost.html.jinja"),
    Section("funnel", "Training examples", "html/funnel.html.jinja", lambda page: page.sets),
    Section("lineage", "Lineage", "html/lineage.html.jinja", lambda page: page.report.lineage),
    Section("reproduce", "Reproduce", "html/reproduce.html.jinja"),
    Section("reading", "How to read this", "html/reading.html.jinja"),
)


def sections_of(page: Page) -> Sequence[Section]:
    return [section for section in SECTIONS if section.is_shown(page)]
