"""The report stage: write the findings as a folder to read, publish and compare byte by byte.

README.md           claim, verdict, table and figure, for people who browse the repository
report.html         one self-contained page: also differences, audit, costs and keys
table.csv           one row per point (s1/report/tables.py)
samples.csv         one row per point and number of samples, if there are several (s1/report/tables.py)
seeds.csv           one row per point and seed, if there are several (s1/report/tables.py)
frontier.csv        accuracy by cost across methods, and who is on the Pareto front (s1/report/tables.py)
settling.csv        where the answer of each question settles, if points extend each other (s1/report/tables.py)
grader_disagreement.csv   answers that graders judge differently (s1/report/tables.py)
paper.csv           published numbers beside ours, if the scan names some (s1/report/paper_section.py)
figures/*.png|svg   s1/report/figures*.py
traces/*.js         every prompt, trace and answer (s1/report/trace_archive)
manifest.json       key and digest of every stage directory that a number came from

Nothing here depends on time or machine: the same findings give the same bytes.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from s1.generate.methods.method import suppresses_ends
from s1.plots.canvas import FAINT, INK, INVALID, LINES, RULE, Drawing
from s1.report import format
from s1.report.figures import drawings
from s1.report.figures_frontier import frontier_drawings
from s1.report.figures_samples import MOST_POINTS, sample_drawings
from s1.report.figures_settling import settling_drawings
from s1.report.findings import Findings, Frontier, MeasuredPoint, Series, Settling, cited, read_findings
from s1.report.paper_section import PaperSection, paper_csv
from s1.report.tables import FILE_NAME as DISAGREEMENTS
from s1.report.tables import frontier_csv, samples_csv, seeds_csv, settling_csv, table_csv
from s1.report.verdict import comparison, contradicts_monotony, shape_in_words, verdict
from s1.stages import ReportConfig
from s1.stats.interval import detectable_unpaired_pp
from sweep.core.stage import Summary, Work

FIGURES, TRACES = "figures", "traces"
NAMED = 5  # labels of points that are left out; more are counted
LOST_SHOWN = 10  # lost answers on the page; settling.csv has all


@dataclass(frozen=True)
class Page:
    """Data for the templates."""

    report: ReportConfig
    findings: Findings
    figures: list[Drawing]
    curve_key: str
    curve_digest: str = ""  # 12 hex digits; "": unknown

    @property
    def curve_cited(self) -> str:
        return cited(self.curve_key, self.curve_digest)

    @property
    def claim_sentences(self) -> list[str]:
        """Sentences that compare the claim with the numbers of each series."""
        if not self.report.claim:
            return []
        lines = [(f"{series.name}: " if series.name else "", series) for series in self.findings.series]
        shapes = "; ".join(f"{name}{shape_in_words(series)}" for name, series in lines)
        contradicted = any(contradicts_monotony(series) for series in self.findings.series)
        more = ["A claim that accuracy never falls with more thinking is contradicted."] if contradicted else []
        return [f"Held against the numbers: {shapes}.", *more]

    @property
    def several_seeds(self) -> list[tuple[Series, list[MeasuredPoint]]]:
        """Points with several seeds, by series."""
        by_series = [
            (series, [point for point in series.points if point.seed_range]) for series in self.findings.series
        ]
        return [(series, points) for series, points in by_series if points]

    @property
    def verdicts(self) -> list[tuple[Series, list[str]]]:
        return [(series, verdict(series)) for series in self.findings.series]

    @property
    def compared(self) -> list[str]:
        """Sentences on the comparison along an axis."""
        return comparison(self.findings.across)

    @property
    def paper(self) -> PaperSection | None:
        """Published numbers beside ours, if the scan names some."""
        beside = self.findings.beside_paper
        return None if beside is None else PaperSection(beside, self.level_percent)

    @property
    def sampled(self) -> list[tuple[Series, list[MeasuredPoint]]]:
        """Points with several samples, by series."""
        by_series = [(series, [point for point in series.points if point.at_k]) for series in self.findings.series]
        return [(series, points) for series, points in by_series if points]

    @property
    def most_lost(self) -> int:
        """The most lost answers that the page lists for a series."""
        return LOST_SHOWN

    @property
    def most_drawn(self) -> int:
        """The most points that figures of several samples draw."""
        return MOST_POINTS

    @property
    def methods(self) -> Mapping[str, str]:
        """Interval methods, by kind of number."""
        points = list(self.findings.points())
        of_series = [
            row for series in self.findings.series for row in (*series.to_reference, *series.neighbours, *series.shape)
        ]
        rows = [row.estimate for row in (*of_series, *self.findings.across)]
        return {
            "accuracy": "; ".join(dict.fromkeys(point.accuracy.method for point in points)),
            "difference": "; ".join(dict.fromkeys(row.method for row in rows)) or "none (nothing to compare)",
            "tokens": "; ".join(dict.fromkeys(point.thinking_tokens.method for point in points)),
        }

    @property
    def settling_methods(self) -> str:
        found = [settling.share_after.method for settling in self.findings.settling if settling.share_after]
        return "; ".join(dict.fromkeys(found)) or "none"

    @property
    def level_percent(self) -> str:
        return f"{100 * self.findings.statistics.level:g}"

    @property
    def one_miss_in(self) -> int:
        """The number of independent intervals of which one is expected to miss."""
        return round(1 / (1 - self.findings.statistics.level))

    @property
    def power_percent(self) -> str:
        return f"{100 * self.findings.statistics.power:g}"

    def unpaired_pp(self, series: Series) -> float | None:
        """The smallest detectable difference of two separate runs that are as accurate as the reference.

        None if the formula has no answer: at 0 and 100%, and above 100 points.
        """
        reference, statistics = series.point(series.reference), self.findings.statistics
        found = detectable_unpaired_pp(
            reference.accuracy.value, reference.questions, statistics.level, statistics.power
        )
        return found if 0 < found <= 100 else None

    def manifest(self) -> Mapping[str, object]:
        points = [
            {
                "series": series.name,
                "label": point.label,
                "scores": [{"seed": each.seed, "key": each.key, "digest": each.digest} for each in point.sources],
                "valid": point.valid,
            }
            for series in self.findings.series
            for point in series.points
        ]
        curve = {"key": self.curve_key, "digest": self.curve_digest}
        return {"name": self.report.name, "curve": curve, "points": points}


def report(work: Work[ReportConfig]) -> Summary:
    """Write the report folder from the findings of the curve stage."""
    source = work.one("curve")
    findings = read_findings(source)
    figures = [
        *drawings(findings),
        *sample_drawings(findings),
        *settling_drawings(findings),
        *frontier_drawings(findings),
    ]
    (digest,) = work.digests.get("curve", ("",))
    page = Page(work.config, findings, figures, source.parent.name, digest)
    write_page(work.out, page)
    shutil.copyfile(source / DISAGREEMENTS, work.out / DISAGREEMENTS)
    if "archive" in work.inputs:  # without it, the report has no traces to browse
        shutil.copytree(work.one("archive"), work.out / TRACES)
    counts = {} if page.paper is None else page.paper.counts
    return {"points": sum(1 for _ in findings.points()), **counts, "verdict": " ".join(_all_sentences(page))}


def write_page(out: Path, page: Page) -> None:
    """Write all files of the folder."""
    write_drawings(out, page.figures)
    texts = {
        "README.md": render("readme.md.jinja", page),
        "report.html": render("page.html.jinja", page),
        "table.csv": table_csv(page.findings),
        "manifest.json": json.dumps(page.manifest(), indent=1, ensure_ascii=False) + "\n",
    }
    optional = {
        "samples.csv": samples_csv(page.findings),
        "seeds.csv": seeds_csv(page.findings),
        "paper.csv": paper_csv(page.findings),
        "settling.csv": settling_csv(page.findings),
        "frontier.csv": frontier_csv(page.findings),
    }
    texts |= {name: text for name, text in optional.items() if text is not None}
    for name, text in texts.items():
        (out / name).write_text(text, encoding="utf-8")


def write_drawings(out: Path, figures: Sequence[Drawing]) -> None:
    """Write each figure as figures/<name>.png and .svg."""
    (out / FIGURES).mkdir()
    for drawing in figures:
        (out / FIGURES / f"{drawing.name}.png").write_bytes(drawing.png)
        (out / FIGURES / f"{drawing.name}.svg").write_text(drawing.svg, encoding="utf-8")


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
    environment.filters.update(
        value=format.value,
        interval=format.interval,
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


def _all_sentences(page: Page) -> list[str]:
    of_series = [
        f"{series.name}: {sentence}" if series.name else sentence
        for series, sentences in page.verdicts
        for sentence in sentences
    ]
    return [*page.compared, *of_series, *page.claim_sentences]


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
