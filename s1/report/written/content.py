"""What a written report says of a result, from its findings and its manifest. Pure.

Contents; claim and verdict; the curve; differences; points; samples; audit; training; cost; lineage; reproduce.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from s1.plots.scaling_chart import XAxis
from s1.report.findings import DIGEST_SHOWN, Findings, MeasuredPoint, PairedDifference, Series, cited
from s1.report.format import MISSING, duration_text, full, interval, per_point, percent, price, value
from s1.report.verdict import claim_sentences, comparison, verdict
from s1.report.written.blocks import (
    BarPanel,
    Block,
    Code,
    Contents,
    CurvePanel,
    DifferencesPanel,
    Grid,
    Heading,
    LineagePanel,
    LinePanel,
    Lines,
    PagePanel,
    ParallelPanel,
    Picture,
    RunSet,
    ScatterPanel,
    Table,
    TablePanel,
    Text,
    WrittenReport,
)
from s1.stages import ReportConfig

FIGURES = "figures"
PICTURE = ".png"
SCALING = "scaling"  # the figure of accuracy over thinking tokens
IN_ORDER = ("pool", "mixture", "distilled", "filtered", "labelled", "solver_rows", "curated", "conditioned", "rendered")
AFTER_DATA = ("base_model", "checkpoint", "reward_model", "problems", "questions", "traces", "rewards", "scores")
FINAL = ("curve", "trace_archive", "report")
BUDGET_KEYS = ("config.budget.max", "config.budget.waits", "forced_share", "no_answer_share", "accuracy")


@dataclass(frozen=True)
class ResultFacts:
    """What the manifest of a result says, beside its findings."""

    name: str  # name/key
    digest: str  # of the report
    stages: Mapping[str, Mapping[str, Any]]  # by address, as in manifest.json
    files: Sequence[str]
    costs: Sequence[Mapping[str, Any]]  # sums by stage name (sweep/results/costs.py)
    cost_line: str | None  # None: nothing is known about what was planned


def written_report(findings: Findings, config: ReportConfig, facts: ResultFacts) -> WrittenReport:
    """All sections, in the order in which people read them."""
    blocks: list[Block] = [Contents()]
    for section in (_claim, _curve, _differences, _points, _samples, _audit):
        blocks += section(findings, config, facts)
    for section in (_training, _cost, _lineage):
        blocks += section(facts)
    return WrittenReport(config.name, config.claim, [*blocks, *_reproduce(config, facts)])


# --------------------------------------------------------------------------------------------------- the sections


def _claim(findings: Findings, config: ReportConfig, facts: ResultFacts) -> Iterator[Block]:
    yield Heading("Claim and verdict")
    if config.claim:
        yield Text(f"Claim: {config.claim}")
    yield Lines(
        [
            *comparison(findings.across),
            *(f"{_prefix(series)}{sentence}" for series in findings.series for sentence in verdict(series)),
            *claim_sentences(config.claim, findings.series),
        ]
    )
    yield Lines([f"{_prefix(series)}{_metrics(series)}" for series in findings.series])
    yield Text(f"Result {facts.name}@{facts.digest[:DIGEST_SHOWN]}.")


def _metrics(series: Series) -> str:
    of, per = series.metrics, " points per doubling"
    scaling, slope = (f"{full(each)}{per if each else ''}" for each in (of.scaling, of.slope))
    return f"Scaling {scaling}, Slope {slope}, Control {full(of.control)}, Performance {full(of.performance)}."


def _curve(findings: Findings, _: ReportConfig, facts: ResultFacts) -> Iterator[Block]:
    yield Heading("Scaling")
    level = f"{100 * findings.statistics.level:g}% interval"
    columns = ["point", "accuracy", level, "n", "thinking tokens", "tokens interval", "USD", "audit", "scores"]
    rows = [
        [
            f"{_prefix(series)}{point.label}",
            value(point.accuracy),
            interval(point.accuracy),
            _n(point),
            value(point.thinking_tokens),
            interval(point.thinking_tokens),
            price(point.usd.value) if point.usd else "unknown",
            "valid" if point.valid else "INVALID",
            " ".join(source.cited for source in point.sources),
        ]
        for series in findings.series
        for point in series.points
    ]
    table = Table(columns, rows, frozenset({"accuracy", "n", "thinking tokens", "USD"}))
    names = sorted(
        filter(_is_picture, facts.files), key=lambda name: PurePosixPath(name).stem != SCALING
    )  # it is first
    pictures = [Picture(name, PurePosixPath(name).stem) for name in names]
    panels = (CurvePanel(XAxis.THINKING_TOKENS), CurvePanel(XAxis.USD), TablePanel("curve"))
    yield Grid(RunSet.SUMMARY, panels, (*pictures, table))


def _n(point: MeasuredPoint) -> str:
    samples = f" x {point.samples}" if point.samples > 1 else ""
    seeds = f", {len(point.sources)} seeds" if len(point.sources) > 1 else ""
    return f"{point.questions}{samples}{seeds}"


def _is_picture(name: str) -> bool:
    path = PurePosixPath(name)
    return path.parent.name == FIGURES and path.suffix == PICTURE


def _differences(findings: Findings, _: ReportConfig, facts: ResultFacts) -> Iterator[Block]:
    yield Heading("Differences")
    rows = [
        _difference(f"{_prefix(series)}{what}", each, per_point(series.usd_per_point(each)))
        for series in findings.series
        for what, differences in (
            ("against the reference", series.to_reference),
            ("from point to point", series.neighbours),
            ("shape", series.shape),
        )
        for each in differences
    ]
    rows += [_difference("compared", each, "") for each in findings.across]
    if not rows:
        yield Text("There is only one point, so there is nothing to compare.")
        return
    numbers = ["gained", "lost", "smallest detectable", "USD per extra point"]
    table = Table(["comparison", "point", "against", "difference, points", *numbers, "audit"], rows, frozenset(numbers))
    yield Grid(RunSet.SUMMARY, (TablePanel("differences"),), (table,))


def _difference(kind: str, of: PairedDifference, usd_per_point: str) -> list[str]:
    detectable = value(of.detectable).lstrip("+")
    numbers = [full(of.estimate), str(of.gained), str(of.lost), detectable, usd_per_point]
    return [kind, of.label, of.against, *numbers, "valid" if of.valid else "INVALID"]


def _points(findings: Findings, _: ReportConfig, facts: ResultFacts) -> Iterator[Block]:
    yield Heading("Points", 2)
    columns = ["point", "answer tokens", "cut", "mean Waits", "no answer", "loops", "sampled tokens", "device time"]
    rows = [
        [
            f"{_prefix(series)}{point.label}",
            value(point.answer_tokens),
            f"{percent(point.audit.forced_share)}%",
            f"{point.audit.mean_waits:.2f}",
            f"{percent(point.audit.no_answer_share)}%",
            value(point.loop_share),
            value(point.sampled_tokens),
            duration_text(point.device_seconds.value) if point.device_seconds else "unknown",
        ]
        for series in findings.series
        for point in series.points
        if point.valid
    ]
    panels = (
        ScatterPanel("accuracy over thinking tokens", "thinking_tokens", "accuracy"),
        ScatterPanel("accuracy over USD", "usd", "accuracy"),
        ParallelPanel(BUDGET_KEYS),
        BarPanel("share without an answer", "no_answer_share"),
        DifferencesPanel(),
    )
    yield Grid(RunSet.POINTS, panels, (Table(columns, rows, frozenset(columns[1:])),))


def _samples(findings: Findings, _: ReportConfig, facts: ResultFacts) -> Iterator[Block]:
    yield Heading("Samples")
    columns = ["point", "k", "majority of k", "interval", "more than one sample, points", "pass@k", "audit"]
    rows = [
        [
            f"{_prefix(series)}{point.label}",
            str(each.k),
            value(each.majority),
            interval(each.majority),
            full(each.gain),
            value(each.passed),
            "valid" if point.valid else "INVALID",
        ]
        for series in findings.series
        for point in series.points
        for each in point.doublings
    ]
    page = Text(f"Every trace, two side by side: report.html of the result, or sweep show {facts.name}.")
    tables = [Table(columns, rows, frozenset({"k", "majority of k", "pass@k"}))] if rows else []
    panels = [TablePanel("traces"), *([TablePanel("samples_at_k")] if rows else []), PagePanel("report")]
    yield Grid(RunSet.SUMMARY, tuple(panels), (*tables, page))


def _audit(findings: Findings, _: ReportConfig, facts: ResultFacts) -> Iterator[Block]:
    yield Heading("Audit")
    columns = [
        "point",
        "audit",
        "traces",
        "over budget",
        "under minimum",
        "cut",
        "all Waits",
        "answers cut",
        "thinks on",
    ]
    rows = [_audited(series, point) for series in findings.series for point in series.points]
    yield Grid(RunSet.SUMMARY, (TablePanel("audit"),), (Table(columns, rows, frozenset(columns[2:])),))
    problems = [
        f"{_prefix(series)}{point.label}: {sentence}"
        for series in findings.series
        for point in series.points
        for sentence in (*point.audit.problems, *point.audit.unmet)
    ]
    yield Lines(problems) if problems else Text("Every point is valid, and every trace got what was asked for.")


def _audited(series: Series, point: MeasuredPoint) -> list[str]:
    of = point.audit
    shares = [of.forced_share, of.all_waits_share, of.answers_cut_share, of.thinks_on_share]
    return [
        f"{_prefix(series)}{point.label}",
        "valid" if point.valid else "INVALID",
        *(f"{count:,}" for count in (of.traces, of.over_budget, of.under_minimum)),
        *(MISSING if share is None else f"{percent(share)}%" for share in shares),
    ]


def _training(facts: ResultFacts) -> Iterator[Block]:
    yield Heading("Training")
    trained = {address: stage for address, stage in facts.stages.items() if "train_loss" in stage["summary"]}
    if not trained:
        yield Text("No model was trained for this result.")
        return
    columns = ["checkpoint", "steps", "examples", "tokens", "mean loss", "time", "USD"]
    rows = [
        [
            cited(address, str(stage["digest"])),
            *(f"{stage['summary'][name]:,}" for name in ("steps", "examples", "tokens")),
            f"{stage['summary']['train_loss']:.3f}",
            duration_text(stage["seconds"]),
            price(stage["usd"]),
        ]
        for address, stage in sorted(trained.items())
    ]
    names = {"train/loss": "loss", "train/lr": "learning rate", "train/grad_norm": "gradient norm"}
    panels = tuple(LinePanel(title, "train/step", key) for key, title in names.items())
    yield Grid(RunSet.CHECKPOINTS, panels, (Table(columns, rows, frozenset(columns[1:])),))


def _cost(facts: ResultFacts) -> Iterator[Block]:
    yield Heading("Cost planned and spent")
    columns = ["stages", "planned tokens", "spent tokens", "planned device time", "spent device time"]
    columns += ["planned USD", "spent USD", "made for"]
    rows = [
        [
            str(row["name"]),
            *(_count(row[name]) for name in ("planned_tokens", "spent_tokens")),
            *(_time(row[name]) for name in ("planned_device_seconds", "spent_device_seconds")),
            *(MISSING if row[name] is None else price(row[name]) for name in ("planned_usd", "spent_usd")),
            {None: "unknown", True: "an earlier result", False: "this result"}[row["reused"]],
        ]
        for row in sorted(facts.costs, key=lambda row: _place(row["name"]))
    ]
    yield Table(columns, rows, frozenset(columns[1:-1]))
    yield Text(
        f"{facts.cost_line[0].upper()}{facts.cost_line[1:]}."
        if facts.cost_line
        else "What was planned is not known: no command kept its estimates."
    )


def _count(number: int | None) -> str:
    return MISSING if number is None else f"{number:,}"


def _time(seconds: float | None) -> str:
    return MISSING if seconds is None else duration_text(seconds)


def _lineage(facts: ResultFacts) -> Iterator[Block]:
    yield Heading("Lineage")
    addresses = sorted(facts.stages, key=lambda address: (_place(address.partition("/")[0]), address))
    rows = [
        [
            cited(address, str(facts.stages[address]["digest"])),
            str(facts.stages[address].get("commit") or "unknown")[:12],
            str(facts.stages[address].get("finished_at", "")),
        ]
        for address in addresses
    ]
    scores = [address for address in addresses if address.startswith("scores/")]
    table = Table(["stage@digest", "commit", "finished"], rows)
    if scores:
        panel = LineagePanel(f"scores-{scores[0].rpartition('/')[2]}:latest")
        yield Grid(RunSet.SUMMARY, (panel,))
    yield table


def _place(name: str) -> int:
    """Position of a stage name on the way from data to report; unknown names come before the final ones."""
    known = (*IN_ORDER, *AFTER_DATA)
    if name in FINAL:
        return len(known) + 1 + FINAL.index(name)
    return known.index(name) if name in known else len(known)


def _reproduce(config: ReportConfig, facts: ResultFacts) -> Iterator[Block]:
    yield Heading("Reproduce")
    yield Code(config.command)
    yield Text(
        "The same command with the same code makes the same keys. Other digests under equal keys mean another"
        " machine's rounding; sweep results lists both."
    )


def _prefix(series: Series) -> str:
    return f"{series.name}: " if series.name else ""
