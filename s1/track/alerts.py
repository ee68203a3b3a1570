"""Alerts that W&B sends to a user (Slack, mail): one of each kind for a scan, not one per point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from s1.track.runs import Run

TITLE_CHARACTERS = 63  # W&B refuses longer titles
NAMED = 5  # points or stages that a text names; more are counted
OVERSPENT = 1.5  # times the planned price
OVERSPENT_USD = 1.0  # and by so much, because an estimate of cents is easily off


class Level(Enum):
    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


@dataclass(frozen=True)
class Alert:
    title: str
    text: str
    level: Level


def of_finished_scan(
    name: str, verdict: str, invalid: Sequence[str], planned_usd: float, spent_usd: float
) -> list[Alert]:
    """The alerts of a finished scan; `invalid`: labels of points that failed their audit."""
    found = [Alert(f"{name}: done", verdict or "Done.", Level.INFO)]
    if invalid:
        text = f"Failed the audit, and left out of the curve and the verdict: {_named(invalid)}."
        found.append(Alert(f"{name}: {_counted(len(invalid), 'invalid point')}", text, Level.WARN))
    if planned_usd > 0 and spent_usd > max(OVERSPENT * planned_usd, planned_usd + OVERSPENT_USD):
        text = f"Spent {spent_usd:.2f} USD, where the plan said {planned_usd:.2f} USD."
        found.append(Alert(f"{name}: {spent_usd / planned_usd:.1f} times the planned price", text, Level.WARN))
    return found


def of_failed_stages(name: str, failures: Mapping[str, str]) -> Alert:
    """One alert for all failed stages: messages by stage address."""
    first = next(iter(failures.values()))
    title = f"{name}: {_counted(len(failures), 'failed stage')}"
    return Alert(title, f"{_named(list(failures))}. {first}", Level.ERROR)


def send(run: Run, alert: Alert) -> None:
    run.alert(alert.title[-TITLE_CHARACTERS:], alert.text, alert.level.value)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _named(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
