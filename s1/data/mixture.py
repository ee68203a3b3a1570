"""The mixture stage: join the rows of several pools in proportion to their weights.

rows.jsonl     PoolRow, source by source, each in the order of its pool
funnel.json    one step of all pools together, then the mixture; both with counts per source (s1/data/funnel.py)

A source without a weight gives all of its rows. The others share `rows` rows in proportion to their weights, rounded to
whole rows by the largest remainder; each draws its share at random, without replacement. A question that an earlier
source has already is dropped before the draw. Ids and sources begin with the name of the mixture's source, as in
`s1k/qq8933/AIME_1983_2024`, so that every later table tells the sources apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

from s1.config.schema import ConfigError
from s1.data.filter import ASKED_BEFORE
from s1.data.funnel import Drop, FunnelStep, funnel_step, read_funnel, write_funnel
from s1.records import ROWS, PoolRow, read_rows, write_rows
from s1.stages import MixtureConfig
from sweep.core.stage import Summary, Work

NOT_DRAWN = "not drawn"


def mixed_rows(work: Work[MixtureConfig]) -> Summary:
    """Write the mixture. Raises ConfigError for a source with fewer rows than its share."""
    names = [each.source for each in work.config.sources]
    directories = dict(zip(names, work.inputs["pools"], strict=True))
    pools = {name: read_rows(directory / ROWS, PoolRow) for name, directory in directories.items()}
    steps = {name: read_funnel(directory)[-1] for name, directory in directories.items()}
    kept, step = mixture(pools, work.config)
    write_rows(work.out / ROWS, (row for rows in kept.values() for row in rows))
    write_funnel(work.out, [_collected(steps), step])
    return {"rows": step.kept, **{f"rows of {name}": len(rows) for name, rows in kept.items()}}


def mixture(
    pools: Mapping[str, Sequence[PoolRow]], config: MixtureConfig
) -> tuple[dict[str, list[PoolRow]], FunnelStep]:
    """The rows to keep by source, and the step that drops the others."""
    fresh, drops = _without_repeats(pools)
    weights = {each.source: each.weight for each in config.sources if each.weight is not None}
    wanted = shares(weights, config.rows)
    kept: dict[str, list[PoolRow]] = {}
    for name, rows in fresh.items():
        count = wanted.get(name, len(rows))
        if count > len(rows):
            raise ConfigError(
                f"data.pool.sources.{name}.weight {weights[name]:g}: asks for {count} rows, and {len(rows)} are"
                " there. Lower it, or data.pool.rows."
            )
        # Seeded by name, so that a source draws the same rows whatever the others are.
        drawn = set(Random(f"{config.seed} {name}").sample(range(len(rows)), count))
        kept[name] = [_named(name, row) for place, row in enumerate(rows) if place in drawn]
        drops += [Drop(row, f"{name}: {NOT_DRAWN}") for place, row in enumerate(rows) if place not in drawn]
    step = funnel_step("mixed", [row for rows in kept.values() for row in rows], drops)
    return kept, replace(step, kept_by_source={name: len(rows) for name, rows in kept.items()})


def shares(weights: Mapping[str, float], rows: int) -> dict[str, int]:
    """Divide `rows` in proportion to `weights` by the largest remainder; of equal ones the first gets the row."""
    total = sum(weights.values())
    exact = {name: rows * weight / total for name, weight in weights.items()}
    whole = {name: int(share) for name, share in exact.items()}
    missing = (rows if weights else 0) - sum(whole.values())
    for name in sorted(exact, key=lambda name: whole[name] - exact[name])[:missing]:
        whole[name] += 1
    return whole


def _without_repeats(pools: Mapping[str, Sequence[PoolRow]]) -> tuple[dict[str, list[PoolRow]], list[Drop]]:
    """The rows of each source whose question no earlier source has, and the others."""
    asked: set[str] = set()
    fresh: dict[str, list[PoolRow]] = {}
    drops: list[Drop] = []
    for name, rows in pools.items():
        fresh[name] = [row for row in rows if row.question not in asked]
        drops += [Drop(row, f"{name}: {ASKED_BEFORE}") for row in rows if row.question in asked]
        asked |= {row.question for row in rows}
    return fresh, drops


def _named(name: str, row: PoolRow) -> PoolRow:
    return replace(row, id=f"{name}-{row.id}", source=f"{name}/{row.source}")


def _collected(steps: Mapping[str, FunnelStep]) -> FunnelStep:
    """The first step of all pools as one, with the name of the source before each reason."""
    return FunnelStep(
        name="collected",
        kept=sum(step.kept for step in steps.values()),
        dropped={f"{name}: {reason}": rows for name, step in steps.items() for reason, rows in step.dropped.items()},
        examples=[
            replace(row, reason=f"{name}: {row.reason}") for name, step in steps.items() for row in step.examples
        ],
        kept_by_source={name: step.kept for name, step in steps.items()},
    )
