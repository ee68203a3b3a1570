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
figures/*.png|svg|pdf   s1/report/figures*.py
traces/*.js         every prompt, trace and answer (s1/report/trace_archive)
manifest.json       key and digest of every stage directory that a number came from

Nothing here depends on time or machine: the same findings give the same bytes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from s1.plots.canvas import Drawing
from s1.report.browser.section import TraceSection, trace_section
from s1.report.chart_data import ChartData, chart_data
from s1.report.curated_sets import CuratedSet, curated_sets
from s1.report.figures import drawings
from s1.report.figures_frontier import frontier_drawings
from s1.report.figures_samples import MOST_POINTS, sample_drawings
from s1.report.figures_settling import settling_drawings
from s1.report.findings import Findings, MeasuredPoint, Series, cited, read_findings
from s1.report.paper_section import PaperSection, paper_csv
from s1.report.render import render, write_drawings
from s1.report.sections import Section, sections_of
from s1.report.tables import FILE_NAME as DISAGREEMENTS
from s1.report.tables import frontier_csv, samples_csv, seeds_csv, settling_csv, table_csv
from s1.report.vendor import Script
from s1.report.verdict import claim_sentences, comparison, verdict
from s1.stages import LineageStage, ReportConfig
from s1.stats.interval import detectable_unpaired_pp
from sweep.core.stage import Summary, Work

TRACES = "traces"
LOST_SHOWN = 10  # lost answers on the page; settling.csv has all


@dataclass(frozen=True)
class Page:
    """Data for the templates."""

    report: ReportConfig
    findings: Findings
    figures: list[Drawing]
    curve_key: str
    curve_digest: str = ""  # 12 hex digits; "": unknown
    sets: list[CuratedSet] = field(default_factory=list)  # of training examples
    traces: TraceSection | None = None  # None: there is no archive of traces

    @property
    def curve_cited(self) -> str:
        return cited(self.curve_key, self.curve_digest)

    @property
    def sections(self) -> Sequence[Section]:
        return sections_of(self)

    @cached_property
    def chart(self) -> ChartData:
        return chart_data(self.report.name, self.findings)

    @property
    def scripts(self) -> list[Script]:
        """Libraries that the page embeds."""
        figure = [Script.VEGA, Script.VEGA_LITE] if self.chart["rows"] else []
        return [*figure, Script.KATEX] if self.traces and self.traces.has_latex else figure

    @property
    def lineage(self) -> list[LineageStage]:
        """Every stage behind the numbers, inputs first: those of the plan, and the scores."""
        scores = {
            f"scores/{source.cited}": LineageStage(
                f"scores/{source.cited}", point.label, [f"traces/{source.traces}"] if source.traces else []
            )
            for point in self.findings.points()
            for source in point.sources
        }
        return [*self.report.lineage, *scores.values()] if self.report.lineage else []

    @property
    def engines(self) -> list[str]:
        return list(dict.fromkeys(point.engine for point in self.findings.points()))

    @property
    def claim_sentences(self) -> list[str]:
        """Sentences that compare the claim with the numbers of each series."""
        return claim_sentences(self.report.claim, self.findings.series)

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
    sets = curated_sets(work.config.sets, work.inputs.get("curated", ()))
    archive = work.one("archive") if "archive" in work.inputs else None  # without it, there are no traces to browse
    traces = None if archive is None else trace_section(archive)
    page = Page(work.config, findings, figures, source.parent.name, digest, sets, traces)
    write_page(work.out, page)
    shutil.copyfile(source / DISAGREEMENTS, work.out / DISAGREEMENTS)
    if archive is not None:
        shutil.copytree(archive, work.out / TRACES)
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


def _all_sentences(page: Page) -> list[str]:
    of_series = [
        f"{series.name}: {sentence}" if series.name else sentence
        for series, sentences in page.verdicts
        for sentence in sentences
    ]
    return [*page.compared, *of_series, *page.claim_sentences]
