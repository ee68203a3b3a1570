"""Do 95% intervals hold? `python benchmarks/coverage.py [--quick] [--repetitions 2000]`.

Simulates questions whose accuracy is known, and counts how often each kind of interval in a report contains it:
the project's own functions ("after") and, on the same data, the methods that they replaced ("before"):
percentiles of a bootstrap over questions, and Wilson for one sample or where all chances are 0 or all are 1.
Writes results/benchmarks/coverage.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy.special import betaincinv, expit, logit, ndtr
from scipy.stats import binom

from s1.generate.methods.method import Bounds
from s1.stats.bootstrap import draw_counts, resampled_means
from s1.stats.clustered import Spread, accuracy_limits, share_limits
from s1.stats.interval import two_sided_z
from s1.stats.lengths import token_limits
from s1.stats.paired import gain_wald, largest_gains, wald, wald_of
from s1.stats.scaling import metrics
from s1.stats.seeds import SEEDS_FOR_TWO_WAY
from s1.stats.votes import majority_at, pass_at

TARGET = Path(__file__).resolve().parents[1] / "results" / "benchmarks" / "coverage.md"
LEVEL, Z = 0.95, two_sided_z(0.95)
RESAMPLES = 500
QUESTIONS = (12, 30, 64, 198, 500)
ACCURACIES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98, 0.99)
FEWER_ACCURACIES = (0.01, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99)
PAIRS = (
    (0.01, 0.01),
    (0.05, 0.02),
    (0.05, 0.05),
    (0.2, 0.1),
    (0.35, 0.35),
    (0.6, 0.5),
    (0.8, 0.9),
    (0.95, 0.95),
    (0.99, 0.99),
)
CORRELATIONS = (0.0, 0.3, 0.9)  # of two samples of one question
GRAIN = 10_000  # questions that approximate the whole population
NOTE = """Chances of questions are beta, or logistic normal for seeds; the correlation is that of two samples of one
question. All wrong samples vote for one answer. Fewer than 8 pooled seeds must hold the mean over these seeds, 8 or
more that over all seeds. Performance must hold the best true accuracy. Lengths are lognormal, the accuracy of their
cells is the standard deviation of the logarithm; a budget that all but a few in a hundred traces reach is not among
them: few questions cannot show the traces that end before it."""
ROUNDING = 1e-6  # of the control, which is in single precision

Limits = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Cell:
    accuracy: float
    before: float
    after: float
    width_before: float
    width_after: float


@dataclass(frozen=True)
class Row:
    kind: str
    questions: int
    setting: str
    cells: list[Cell]


@dataclass(frozen=True)
class Simulation:
    """Its size and its random numbers."""

    repetitions: int
    questions: Sequence[int]
    samples: Sequence[int]
    rng: np.random.Generator

    def questions_of(self, chances: np.ndarray, questions: int) -> np.ndarray:
        return chances[self.rng.integers(len(chances), size=(self.repetitions, questions))]


# ------------------------------------------------------------------------------------------------ what is simulated


@cache
def chances(accuracy: float, correlation: float) -> np.ndarray:
    """Chances of questions to be answered right, from the lowest to the highest: beta, with this mean."""
    if correlation == 0:
        return np.full(GRAIN, accuracy)
    size = (1 - correlation) / correlation
    return betaincinv(accuracy * size, (1 - accuracy) * size, (np.arange(GRAIN) + 0.5) / GRAIN).clip(0, 1)


def accuracies(simulation: Simulation) -> Iterator[Row]:
    for questions, samples, correlation in settings(simulation):
        cells = []
        for accuracy in ACCURACIES:
            pool = chances(accuracy, correlation)
            means = simulation.rng.binomial(samples, simulation.questions_of(pool, questions)) / samples
            after = share_limits(means, Spread(samples, Z), LEVEL)
            cells.append(cell(accuracy, pool.mean(), old_shares(means, samples), after))
        yield Row("accuracy", questions, f"samples {samples}, correlation {correlation:g}", cells)


def settings(simulation: Simulation) -> Iterator[tuple[int, int, float]]:
    """Questions, samples, correlation; one sample correlates with nothing."""
    for questions in simulation.questions:
        for samples in simulation.samples:
            for correlation in CORRELATIONS if samples > 1 else (0.0,):
                yield questions, samples, correlation


def at_k(simulation: Simulation) -> Iterator[Row]:
    """pass@k, maj@k, and what maj@k gains on one sample; all wrong samples have the same answer."""
    for questions, samples, correlation in settings(simulation):
        if samples == 1 or questions in (64, 500):
            continue
        counts = np.arange(samples + 1)
        right_CS = np.arange(samples)[None] < counts[:, None]
        sizes_K = largest_gains(samples)
        pass_CK, majority_CK = pass_at(right_CS), majority_at(np.where(right_CS, 0, 1))
        for k in sorted({3, samples}):
            rows: dict[str, list[Cell]] = {f"pass@{k}": [], f"maj@{k}": [], f"maj@{k} less one sample": []}
            for accuracy in FEWER_ACCURACIES:
                pool = chances(accuracy, correlation)
                drawn = simulation.rng.binomial(samples, simulation.questions_of(pool, questions))
                weights = binom.pmf(counts, samples, pool[::10, None].clip(1e-9, 1 - 1e-9)).mean(axis=0)
                weights /= weights.sum()
                for name, table_C in ((f"pass@{k}", pass_CK[:, k - 1]), (f"maj@{k}", majority_CK[:, k - 1])):
                    after = share_limits(table_C[drawn], Spread(samples, Z), LEVEL)
                    rows[name].append(cell(accuracy, weights @ table_C, old_shares(table_C[drawn], samples), after))
                gain_C = majority_CK[:, k - 1] - majority_CK[:, 0]
                after = gain_wald(
                    majority_CK[:, k - 1][drawn], majority_CK[:, 0][drawn], samples, sizes_K[k - 1], LEVEL
                ).limits
                rows[f"maj@{k} less one sample"].append(
                    cell(accuracy, weights @ gain_C, old_means(gain_C[drawn]), after)
                )
            for name, cells in rows.items():
                kind = name.split("@")[0] + "@k" + (" less one sample" if "less" in name else "")
                setting = f"k = {k} of {samples} samples, correlation {correlation:g}"
                yield Row(kind, questions, setting, cells)


def differences(simulation: Simulation) -> Iterator[Row]:
    """Two points; a share of the questions has the same rank of difficulty for both."""
    for questions, samples, correlation in settings(simulation):
        for shared in (0.5, 0.95):
            cells = []
            for one, other in PAIRS:
                spread = correlation if samples > 1 else 0.6
                pools = chances(one, spread), chances(other, spread)
                shape = (simulation.repetitions, questions)
                rank = simulation.rng.integers(GRAIN, size=shape)
                alike = simulation.rng.random(shape) < shared
                ranks = rank, np.where(alike, rank, simulation.rng.integers(GRAIN, size=shape))
                values, against = (
                    simulation.rng.binomial(samples, pool[at]) / samples for pool, at in zip(pools, ranks, strict=True)
                )
                truth = pools[0].mean() - pools[1].mean()
                cells.append(
                    cell(one, truth, old_means(values - against), wald(values, against, samples, LEVEL).limits)
                )
            setting = f"samples {samples}, correlation {spread:g}, {100 * shared:g}% of questions as hard for both"
            yield Row(
                "difference of several samples" if samples > 1 else "difference of one sample",
                questions,
                setting,
                cells,
            )


def votes(simulation: Simulation) -> Iterator[Row]:
    """Two points of majority votes: k against fewer votes of the same samples, and against another point."""
    for questions, samples, correlation in settings(simulation):
        if samples == 1 or questions in (64, 500):
            continue
        counts = np.arange(samples + 1)
        right_CS = np.arange(samples)[None] < counts[:, None]
        majority_CK = majority_at(np.where(right_CS, 0, 1))
        for k in sorted({3, samples // 2, samples}):
            rows: dict[str, list[Cell]] = {"of the same samples": [], "of another point": []}
            for one, other in PAIRS:
                pools = chances(one, correlation), chances(other, correlation)
                rank = simulation.rng.integers(GRAIN, size=(simulation.repetitions, questions))
                drawn, others = (simulation.rng.binomial(samples, pool[rank]) for pool in pools)
                truths = [_majority_of(pool, samples, majority_CK) for pool in pools]
                values = majority_CK[drawn, k - 1]
                against = {"of the same samples": (drawn, 0, truths[0]), "of another point": (others, k - 1, truths[1])}
                for name, (counted, place, truth_K) in against.items():
                    than = majority_CK[counted, place]
                    after = wald(values, than, samples, LEVEL).limits
                    truth = truths[0][k - 1] - truth_K[place]
                    rows[name].append(cell(one, truth, old_means(values - than), after))
            for name, cells in rows.items():
                setting = f"k = {k} of {samples} samples, correlation {correlation:g}, {name}"
                yield Row("difference of votes", questions, setting, cells)


def _majority_of(pool: np.ndarray, samples: int, majority_CK: np.ndarray) -> np.ndarray:
    """True maj@k over all questions, for every k."""
    weights = binom.pmf(np.arange(samples + 1), samples, pool[::10, None].clip(1e-9, 1 - 1e-9)).mean(axis=0)
    return weights @ majority_CK / weights.sum()


def seeds(simulation: Simulation) -> Iterator[Row]:
    """Pooled seeds: logit chances with a question, a seed, and their interaction; the difference of two such points."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    for questions in simulation.questions:
        if questions == 500:
            continue
        for count in (3, SEEDS_FOR_TWO_WAY, 16):
            for seed_sd in (0.0, 0.3):
                cells, paired = [], []
                for accuracy in FEWER_ACCURACIES:
                    at = logit(accuracy) * 1.4  # the spread draws the mean towards one half
                    shape = (max(simulation.repetitions // 2, 500), count, questions)
                    question = simulation.rng.normal(size=(2, shape[0], 1, questions))
                    question[1] = 0.9 * question[0] + np.sqrt(1 - 0.9**2) * question[1]
                    seed = seed_sd * simulation.rng.normal(size=(2, shape[0], count, 1))
                    mixed = 0.4 * simulation.rng.normal(size=(2, *shape))
                    values = simulation.rng.binomial(2, expit(at + 1.5 * question + seed + mixed)) / 2
                    inner = np.sqrt(1.5**2 + 0.4**2)
                    if count < SEEDS_FOR_TWO_WAY:  # these seeds
                        truth = (expit(at + seed + inner * nodes) @ weights).mean(axis=-1)
                    else:
                        truth = np.full((2, shape[0]), expit(at + np.hypot(inner, seed_sd) * nodes) @ weights)
                    means = values.mean(axis=-2)
                    cells.append(
                        cell(accuracy, truth[0], old_shares(means[0], 2), accuracy_limits(values[0], 2, LEVEL))
                    )
                    after = wald_of(values[0][..., None], values[1][..., None], LEVEL).limits
                    paired.append(cell(accuracy, truth[0] - truth[1], old_means(means[0] - means[1]), after))
                setting = f"{count} seeds of standard deviation {seed_sd:g} (logit)"
                yield Row("pooled seeds", questions, setting, cells)
                yield Row("difference of pooled seeds", questions, setting, paired)


def tokens(simulation: Simulation) -> Iterator[Row]:
    """Lognormal lengths, free and cut at a budget that about a third reach; the cell is the spread of the logarithm."""
    for questions in simulation.questions:
        for samples in (1, 4):
            for name, budget in (("free", np.inf), ("cut at a budget", 1.2)):
                cells = []
                for sigma in (0.3, 0.5, 0.7):
                    draw = simulation.rng.normal
                    question = draw(size=(simulation.repetitions, 1, questions, 1))
                    trace = draw(size=(simulation.repetitions, 1, questions, samples))
                    lengths = np.exp(sigma * (0.8 * question + 0.6 * trace)).clip(max=budget)
                    truth = lognormal_mean(sigma, budget)
                    before = old_means(lengths.mean(axis=(1, 3)))
                    cells.append(cell(sigma, truth, before, token_limits(lengths, LEVEL)))
                yield Row("tokens", questions, f"samples {samples}, {name}", cells)


def lognormal_mean(sigma: float, budget: float) -> float:
    """Of exp(sigma z), no longer than the budget."""
    if np.isinf(budget):
        return float(np.exp(sigma**2 / 2))
    cut = np.log(budget) / sigma
    return float(np.exp(sigma**2 / 2) * ndtr(cut - sigma) + budget * ndtr(-cut))


def lines(simulation: Simulation) -> Iterator[Row]:
    """Scaling, Slope and Performance of four points, one sample; as accurate as each other, and rising."""
    repetitions = max(simulation.repetitions // 5, 100)
    names = ("scaling", "slope", "performance")
    for questions in simulation.questions:
        if questions in (64, 500):
            continue
        counts = draw_counts(questions, RESAMPLES, 0)
        for setting, steps in (("four points alike", (0, 0, 0, 0)), ("four rising points", (0, 0.4, 0.8, 1.2))):
            rows: dict[str, list[Cell]] = {name: [] for name in names}
            for accuracy in (0.1, 0.3, 0.5, 0.7):
                found = line(simulation, repetitions, counts, logit(accuracy) + np.array(steps))
                for name in names:
                    truth, before, after = found[name]
                    if len(after[0]):
                        rows[name].append(cell(accuracy, truth, before, after))
            for name in names:
                yield Row(name, questions, setting, rows[name])


def line(
    simulation: Simulation, repetitions: int, counts: np.ndarray, at: np.ndarray
) -> dict[str, tuple[float, Limits, Limits]]:
    """True value, old and new limits of each statistic; repetitions where it cannot be told show none."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    true_P = expit(at[:, None] + 1.5 * nodes) @ weights / weights.sum()
    questions, points = counts.shape[1], len(at)
    length = np.array([512.0, 1024, 2048, 4096])
    asked = [Bounds(highest=int(each)) for each in length]
    earlier, later = np.triu_indices(points, k=1)
    rise = 100 * (true_P[later] - true_P[earlier]) / (later - earlier)
    run = np.arange(points) - (points - 1) / 2
    truths = {"scaling": rise.mean(), "slope": 100 * (run * true_P).sum() / (run**2).sum(), "performance": true_P.max()}
    limits: dict[str, list[list[float]]] = {name: [] for name in truths}
    for _ in range(repetitions):
        hard = simulation.rng.normal(size=(questions, 1))
        right_QP = (simulation.rng.random((questions, points)) < expit(at + 1.5 * hard)).astype(float)
        lengths_QP = np.tile(length, (questions, 1))
        found = metrics(lengths_QP, right_QP, asked, [True] * points, counts, LEVEL)
        draws_RP = resampled_means(counts, right_QP)
        slopes = {
            "scaling": 100 * ((draws_RP[:, later] - draws_RP[:, earlier]) / (later - earlier)).mean(axis=1),
            "slope": 100 * (run * draws_RP).sum(axis=1) / (run**2).sum(),
            "performance": draws_RP.max(axis=1),
        }
        for name, draws_R in slopes.items():
            estimate = getattr(found, name)
            if estimate is not None:
                limits[name].append([*np.quantile(draws_R, [0.025, 0.975]), estimate.lo, estimate.hi])
    arrays = {name: np.array(each).reshape(-1, 4).T for name, each in limits.items()}
    return {name: (truths[name], (each[0], each[1]), (each[2], each[3])) for name, each in arrays.items()}


# ------------------------------------------------------------------------------------ the control: what was before


def old_means(values: np.ndarray) -> Limits:
    """Percentiles of the bootstrap over questions."""
    draws = values.astype(np.float32) @ counts_of(values.shape[-1]) / values.shape[-1]
    least = round(0.025 * RESAMPLES)
    ordered = np.partition(draws, [least, RESAMPLES - 1 - least], axis=-1)
    return ordered[..., least].astype(float), ordered[..., -1 - least].astype(float)


def old_shares(means: np.ndarray, samples: int) -> Limits:
    """The bootstrap; Wilson for one sample, and where all chances are 0 or all are 1."""
    mean, questions = means.mean(axis=-1), means.shape[-1]
    centre, scale = mean + Z * Z / (2 * questions), 1 + Z * Z / questions
    half = Z * np.sqrt(mean * (1 - mean) / questions + Z * Z / (4 * questions**2))
    wilson = (centre - half) / scale, (centre + half) / scale
    if samples == 1:
        return wilson
    sure = (mean == 0) | (mean == 1)
    lo, hi = (np.where(sure, closed, drawn) for closed, drawn in zip(wilson, old_means(means), strict=True))
    return lo, hi


@cache
def counts_of(questions: int) -> np.ndarray:
    return np.ascontiguousarray(draw_counts(questions, RESAMPLES, 0).T, dtype=np.float32)


# ---------------------------------------------------------------------------------------------------- what is reported


def cell(accuracy: float, truth: float | np.ndarray, before: Limits, after: Limits) -> Cell:
    def held(limits: Limits) -> float:
        return float(((limits[0] <= truth + ROUNDING) & (truth - ROUNDING <= limits[1])).mean())

    widths = [float((hi - lo).mean()) for lo, hi in (before, after)]
    return Cell(accuracy, held(before), held(after), *widths)


KINDS: tuple[Callable[[Simulation], Iterator[Row]], ...] = (accuracies, at_k, differences, votes, seeds, tokens, lines)


def simulate(repetitions: int, quick: bool, seed: int = 0) -> list[Row]:
    questions = (12, 30) if quick else QUESTIONS
    samples = (1, 4) if quick else (1, 4, 16, 64)
    rows = []
    for kind in KINDS:
        began = time.perf_counter()
        rows += kind(Simulation(repetitions, questions, samples, np.random.default_rng(seed)))
        print(f"{kind.__name__}: {time.perf_counter() - began:.0f} s", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--quick", action="store_true", help="few questions and samples, printed, not written")
    arguments = parser.parse_args()
    rows = simulate(min(arguments.repetitions, 500) if arguments.quick else arguments.repetitions, arguments.quick)
    text = "\n".join(page(rows, arguments.repetitions))
    if arguments.quick:
        print(text)
    else:
        TARGET.write_text(text, encoding="utf-8")


def page(rows: Sequence[Row], repetitions: int) -> Iterator[str]:
    said = (__doc__ or "").split("\n\n")[1].replace("Writes results/benchmarks/coverage.md.", "").strip()
    yield from ("# Coverage of 95% intervals", "", "`python benchmarks/coverage.py`", "", said, "")
    yield f"{repetitions:,} repetitions a cell, half of them for seeds, a fifth for Scaling, Slope and Performance."
    yield from ("", NOTE)
    kinds = list(dict.fromkeys(row.kind for row in rows))
    yield from (
        "",
        "| kind | rows | before: mean | worst row | worst cell | after: mean | worst row | worst cell | width |",
    )
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for kind in kinds:
        yield summary(kind, [row for row in rows if row.kind == kind])
    yield from (
        "",
        "A row is a mean over accuracies; width: after against before.",
        "",
        *low_cells(rows),
        "",
        *low_rows(rows),
    )
    for kind in kinds:
        yield from ("", f"## {kind}", "", "| n | | before | worst | width | after | worst | width |")
        yield "|---:|---|---:|---:|---:|---:|---:|---:|"
        yield from (detail(row) for row in rows if row.kind == kind)
    yield ""


def summary(kind: str, rows: Sequence[Row]) -> str:
    parts = [f"| {kind} | {len(rows)} "]
    for side in ("before", "after"):
        means = [mean(getattr(each, side) for each in row.cells) for row in rows]
        worst = min(getattr(each, side) for row in rows for each in row.cells)
        parts.append(f"| {mean(means):.3f} | {min(means):.3f} | {worst:.3f} ")
    widths = [
        mean(getattr(each, f"width_{side}") for row in rows for each in row.cells) for side in ("before", "after")
    ]
    return "".join(parts) + f"| {widths[1] / widths[0]:.2f}x |"


def low_cells(rows: Sequence[Row]) -> Iterator[str]:
    low = [(row, each) for row in rows for each in row.cells if each.after < 0.9]
    yield f"Cells below 90% after: {len(low) or 'none'}."
    for row, each in low:
        yield f"- {row.kind}, n = {row.questions}, {row.setting}, at {each.accuracy:g}: {each.after:.3f}"


def low_rows(rows: Sequence[Row]) -> Iterator[str]:
    low = [(row, mean(each.after for each in row.cells)) for row in rows]
    low = [(row, held) for row, held in low if held < 0.94]
    yield f"Rows below 94% after: {len(low) or 'none'}."
    for row, held in low:
        yield f"- {row.kind}, n = {row.questions}, {row.setting}: {held:.3f}"


def detail(row: Row) -> str:
    parts = [f"| {row.questions} | {row.setting} "]
    for side in ("before", "after"):
        worst = min(row.cells, key=lambda each: getattr(each, side))
        width = mean(getattr(each, f"width_{side}") for each in row.cells)
        parts.append(f"| {mean(getattr(each, side) for each in row.cells):.3f} ")
        parts.append(f"| {getattr(worst, side):.3f} at {worst.accuracy:g} | {width:.3g} ")
    return "".join(parts) + "|"


def mean(values: Iterator[float] | Sequence[float]) -> float:
    return float(np.mean(list(values)))


if __name__ == "__main__":
    main()
