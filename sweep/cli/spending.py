"""Before anything is spent: keep to the limits of the command, and ask the user. For all commands that make stages."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from sweep.console import Console, escape
from sweep.core.pipeline import CostEstimate, Graph
from sweep.core.spending import stop
from sweep.core.stage import Stage
from sweep.errors import InputError
from sweep.results.costs import limit_lines, read_planned
from sweep.slurm.lifecycle import SubmissionStatus
from sweep.store.directory import StageDirectory, Store
from sweep.store.spending import Ledger, read_limits


def question(estimates: Sequence[CostEstimate], above_usd: float) -> str | None:
    """What the user must confirm: a price above the threshold, or any payment to others; None: nothing."""
    usd = sum(each.usd or 0.0 for each in estimates)
    paid_models = [each for each in estimates if each.device_seconds == 0]
    if any(each.usd is None for each in paid_models):
        return f"{_usd(usd)} estimated, and an unknown price for replies of paid models"
    charged = sum(each.usd or 0.0 for each in paid_models)
    if usd <= above_usd and not charged:
        return None
    above = f", above launch.ask_above_usd {above_usd:g}" if usd > above_usd else ""
    paid = f", {_usd(charged)} of it for replies of paid models" if charged else ""
    return f"{_usd(usd)} estimated{above}{paid}"


def ask_before_spending(console: Console, graph: Graph, needed: Sequence[Stage], yes: bool) -> None:
    """Ask before a plan is run or submitted. Raises InputError if the user declines or there is no terminal."""
    estimates = [graph.estimates[each.address] for each in needed if each.address in graph.estimates]
    _ask(console, question(estimates, graph.launch.ask_above_usd), yes)


def ask_before_resuming(console: Console, status: SubmissionStatus, yes: bool) -> None:
    """The same for what a submission would run again. Raises InputError, also if one of its limits is reached."""
    final = Path(status.submission.store) / status.submission.product
    known = read_limits(final)
    if known is not None and (line := stop(known.limits, Ledger(final).spent(known.stages))):
        raise InputError(line)
    _ask(console, question(_left(status), status.submission.launch.ask_above_usd), yes)


def show_limits(console: Console, graph: Graph, store: Store, needed: Sequence[Stage]) -> list[str]:
    """Print what the limits say about a plan; returns why it must not begin."""
    refused, noted = limit_lines(graph, store, needed)
    for line in noted:
        console.print(f"  {escape(line)}", soft_wrap=True)
    for line in refused:
        console.errors.print(f"  [red]refused[/red]  {escape(line)}", soft_wrap=True)
    return refused


def _left(status: SubmissionStatus) -> list[CostEstimate]:
    """Estimates of the stages that would be submitted again, as they were planned."""
    store = Store(Path(status.submission.store))
    planned = read_planned(store, status.submission.product) or {}
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
