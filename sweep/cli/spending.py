"""Before anything is spent: keep to the limits of the command, and ask the user. For all commands that make stages."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from sweep.console import Console, escape
from sweep.core.launch import LaunchKind
from sweep.core.pipeline import CostEstimate, Graph
from sweep.core.spending import EXIT_LIMIT, stop
from sweep.core.stage import Stage
from sweep.errors import InputError
from sweep.results.costs import accounts_of, limit_lines, read_planned
from sweep.slurm.lifecycle import SubmissionStatus
from sweep.store.directory import StageDirectory, Store
from sweep.store.spending import Ledger, limited_by, read_limits
from sweep.store.status_files import is_limited


def question(estimates: Sequence[CostEstimate], above_usd: float, unpriced: str = "") -> str | None:
    """What the user must confirm; None: nothing.

    A price above the threshold, any payment to others, and an unknown price of either, or of `unpriced`: work that may
    cost much, such as stages on GPUs.
    """
    usd = sum(each.usd or 0.0 for each in estimates)
    paid_models = [each for each in estimates if each.device_seconds == 0]
    charged = sum(each.usd or 0.0 for each in paid_models)
    replies = "further replies of paid models" if charged else "replies of paid models"
    has_unknown = any(each.usd is None for each in paid_models)
    unknown = " and ".join(each for each in (unpriced, replies if has_unknown else "") if each)
    if usd <= above_usd and not charged and not unknown:
        return None
    above = f", above launch.ask_above_usd {above_usd:g}" if usd > above_usd else ""
    paid = f", {_usd(charged)} of it for replies of paid models" if charged else ""
    known = f"{_usd(usd)} estimated{above}{paid}" if usd or not unknown else ""
    return ", and ".join(each for each in (known, unknown and f"an unknown price for {unknown}") if each)


def ask_before_spending(console: Console, graph: Graph, needed: Sequence[Stage], yes: bool) -> None:
    """Ask before a plan is run or submitted. Raises InputError if the user declines or there is no terminal."""
    estimates = [graph.estimates[each.address] for each in needed if each.address in graph.estimates]
    _ask(console, question(estimates, graph.launch.ask_above_usd, _unpriced(graph, needed)), yes)


def _unpriced(graph: Graph, needed: Sequence[Stage]) -> str:
    """What has an unknown price and is not cheap, as this machine's CPU is; "": nothing."""
    free = CostEstimate()
    unknown = [each for each in needed if _is_unpriced(graph.estimates.get(each.address, free))]
    if any(made.resources.devices for each in unknown for made in (each, *each.shards)):
        return "stages on GPUs"
    return "jobs on SLURM" if unknown and graph.launch.kind is LaunchKind.SLURM else ""


def _is_unpriced(estimate: CostEstimate) -> bool:
    """Whether the time on devices has an unknown price."""
    return estimate.usd is None and estimate.device_seconds != 0


def ask_before_resuming(console: Console, status: SubmissionStatus, yes: bool) -> None:
    """The same for what a submission would run again. Raises InputError, also if one of its limits is reached."""
    store = Store(Path(status.submission.store))
    for final in limited_by([StageDirectory(store.root / status.submission.product)]):
        known = read_limits(final)
        if known is not None and (line := stop(known.limits, Ledger(final).spent(known.stages))):
            raise InputError(line)
    left = _left(status)
    unpriced = "jobs on SLURM" if any(map(_is_unpriced, left)) else ""
    _ask(console, question(left, status.submission.launch.ask_above_usd, unpriced), yes)


def show_limits(console: Console, graph: Graph, store: Store, needed: Sequence[Stage]) -> list[str]:
    """Print what the limits say about a plan; returns why it must not begin."""
    refused, noted = limit_lines(graph, store, needed)
    for line in noted:
        console.print(f"  {escape(line)}", soft_wrap=True)
    for line in refused:
        console.errors.print(f"  [red]refused[/red]  {escape(line)}", soft_wrap=True)
    return refused


def failure_status(store: Store, needed: Sequence[Stage]) -> int:
    """Exit status of a command that did not make all of these stages."""
    stopped = any(is_limited(store.directory(stage).failed_file) for stage in needed)
    return EXIT_LIMIT if stopped else 1


def _left(status: SubmissionStatus) -> list[CostEstimate]:
    """Estimates of the stages that would be submitted again, as they were planned."""
    store = Store(Path(status.submission.store))
    planned: dict[str, CostEstimate] = {}
    for account in accounts_of(store, status.submission.product):
        planned |= read_planned(store, account) or {}
    stages = {address for each in status.elements if not each.state.is_alive for address in each.element.stages}
    return [planned[each] for each in sorted(stages & planned.keys()) if not StageDirectory(store.root / each).is_done]


def _ask(console: Console, asked: str | None, yes: bool) -> None:
    if yes or asked is None:
        return
    if not sys.stdin.isatty():
        raise InputError(f"cost: {asked}. Add yes=true to go on.")
    if console.input(f"{asked}. Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise InputError("cost: declined. Nothing was run, written or submitted.")


def _usd(value: float) -> str:
    return f"{value:,.2f} USD" if value >= 1 else f"{value:.4f} USD"
