"""What `sweep watch` shows of the stages of a run: failures first, then running stages, then counts. Does no I/O.

A snapshot holds the state of every stage at one moment. Rates come from the progress of earlier snapshots, so the first
screen has none. On a terminal `screen` fills it; in a pipe `changes` gives a line for everything that changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from textwrap import wrap

from sweep.local.show import duration_text

WINDOW_S = 300.0  # rates are over at most this time
LEAST_S = 1.0  # and at least this time
FAILURES_SHOWN = 10
RUNNING_SHOWN = 20
TENTHS = 10  # in a pipe, progress is reported this often


class WatchState(Enum):
    """State of a stage; the values are the headings."""

    FAILED = "failed"
    STUCK = "will not run"  # blocked, cancelled, lost, or not submitted
    RUNNING = "running"
    WAITING = "waiting"
    DONE = "done"


@dataclass(frozen=True)
class WatchedStage:
    """One stage at one moment."""

    address: str  # name/key; of an element that only publishes, "publish"
    state: WatchState
    label: str = ""
    done: int = 0
    total: int = 0  # 0: unknown, it loads
    unit: str = ""
    note: str = ""  # the error of a failed stage; why another one does not run; who holds it
    worker: str = ""  # the process that makes it; stages of one name and worker are shown together
    log: str = ""  # path of the log of a failed stage

    @property
    def name(self) -> str:
        return self.address.partition("/")[0]


@dataclass(frozen=True)
class Snapshot:
    """All stages at one moment."""

    title: str
    stages: tuple[WatchedStage, ...]
    at_s: float  # of a monotonic clock
    clock: str = ""  # the time to show, 12:03:11
    is_alive: bool = True  # False: nothing runs or waits in a queue any more

    def of(self, state: WatchState) -> list[WatchedStage]:
        return [each for each in self.stages if each.state is state]

    @property
    def is_complete(self) -> bool:
        return all(each.state is WatchState.DONE for each in self.stages)


@dataclass(frozen=True)
class Line:
    """One line of the screen; `style` is empty, or a name of rich."""

    text: str
    style: str = ""


@dataclass(frozen=True)
class History:
    """Earlier progress: (time, done) of each stage that runs, oldest first."""

    samples: Mapping[str, tuple[tuple[float, int], ...]] = field(
        default_factory=dict[str, tuple[tuple[float, int], ...]]
    )

    def with_snapshot(self, snapshot: Snapshot) -> History:
        """Add a snapshot, and forget what is older than the window, or went backwards."""
        kept: dict[str, tuple[tuple[float, int], ...]] = {}
        for each in snapshot.of(WatchState.RUNNING):
            earlier = self.samples.get(each.address, ())
            recent = tuple(sample for sample in earlier if snapshot.at_s - sample[0] <= WINDOW_S)
            if recent and recent[-1][1] > each.done:
                recent = ()  # another attempt
            kept[each.address] = (*recent, (snapshot.at_s, each.done))
        return History(kept)

    def per_minute(self, address: str) -> float | None:
        """Progress per minute; None if it has not been observed for long enough."""
        samples = self.samples.get(address, ())
        if len(samples) < 2 or samples[-1][0] - samples[0][0] < LEAST_S:
            return None
        (start_s, start), (end_s, end) = samples[0], samples[-1]
        return 60 * (end - start) / (end_s - start_s)


@dataclass(frozen=True)
class Running:
    """Running stages of one name and one worker, shown as one."""

    stages: tuple[WatchedStage, ...]
    per_minute: float | None

    @property
    def what(self) -> str:
        first = self.stages[0]
        if len(self.stages) == 1:
            return f"{first.address}  {first.label}".rstrip()
        return f"{first.name}  {len(self.stages)} stages"

    @property
    def done(self) -> int:
        return sum(each.done for each in self.stages)

    @property
    def total(self) -> int:
        return sum(each.total for each in self.stages)

    @property
    def progress(self) -> str:
        """120/800 steps, 62/min, 11 min left."""
        if not self.total:
            return "starting"
        unit = next((each.unit for each in self.stages if each.unit), "")
        parts = [f"{self.done:,}/{self.total:,} {unit}".rstrip()]
        if starting := sum(not each.total for each in self.stages):
            parts.append(f"{starting} starting")
        if self.per_minute:
            left_s = 60 * (self.total - self.done) / self.per_minute
            parts += [rate_text(self.per_minute), f"{duration_text(left_s)} left"]
        return ", ".join(parts)


def rate_text(per_minute: float) -> str:
    """62/min; slower than one in a minute, 30/h."""
    if per_minute < 1:
        return f"{60 * per_minute:.2g}/h"
    return f"{per_minute:,.0f}/min" if per_minute >= 10 else f"{per_minute:.1f}/min"


def running(snapshot: Snapshot, history: History) -> list[Running]:
    """Running stages, those of one name and worker together."""
    groups: dict[tuple[str, str], list[WatchedStage]] = {}
    for each in snapshot.of(WatchState.RUNNING):
        groups.setdefault((each.name, each.worker or each.address), []).append(each)
    return [Running(tuple(group), _rate(group, history)) for group in groups.values()]


def _rate(group: Sequence[WatchedStage], history: History) -> float | None:
    known = [rate for each in group if (rate := history.per_minute(each.address)) is not None]
    return sum(known) if known else None


# --------------------------------------------------------------------------------------------------- screen


def screen(snapshot: Snapshot, history: History, columns: int) -> list[Line]:
    """All lines of the screen, no wider than the terminal but for paths, which are never cut."""
    lines = [Line(text, "bold") for text in _heading(snapshot, columns)]
    if failed := snapshot.of(WatchState.FAILED):
        lines.append(Line("failed", "bold red"))
        for each in failed[:FAILURES_SHOWN]:
            lines += _failure(each, columns)
        if len(failed) > FAILURES_SHOWN:
            lines.append(Line(f"  and {len(failed) - FAILURES_SHOWN} more"))
    if groups := running(snapshot, history):
        lines.append(Line("running", "bold cyan"))
        for group in groups[:RUNNING_SHOWN]:
            lines += _running(group, columns)
        if len(groups) > RUNNING_SHOWN:
            lines.append(Line(f"  and {len(groups) - RUNNING_SHOWN} more"))
    for state, style in ((WatchState.STUCK, "bold yellow"), (WatchState.WAITING, "bold"), (WatchState.DONE, "bold")):
        if counts := list(_counts(snapshot.of(state))):
            lines.append(Line(state.value, style))
            lines += [Line(f"  {text}") for each in counts for text in wrap(each, max(20, columns - 2))]
    return lines


def summary(snapshot: Snapshot) -> str:
    """The title, and the number of stages in each state."""
    counts = [f"{len(found)} {state.value}" for state in WatchState if (found := snapshot.of(state))]
    return f"{snapshot.title}: {', '.join(counts) or 'no stages'}"


def _heading(snapshot: Snapshot, columns: int) -> list[str]:
    """The summary, with the time at the right if there is room."""
    *above, text = wrap(summary(snapshot), columns, subsequent_indent="  ", break_on_hyphens=False)
    room = columns - len(text) - len(snapshot.clock)
    return [*above, f"{text}{' ' * room}{snapshot.clock}" if room > 1 else text]


def _failure(each: WatchedStage, columns: int) -> Iterator[Line]:
    yield Line(_cut(f"  {each.address}  {each.label}".rstrip(), columns), "red")
    yield from (Line(f"    {text}") for text in wrap(each.note or "no reason recorded", max(20, columns - 4)))
    if each.log:
        yield Line(f"    log: {each.log}")


def _running(group: Running, columns: int) -> Iterator[Line]:
    """One line if it fits, otherwise two."""
    what, progress = f"  {group.what}", group.progress
    room = columns - len(what) - len(progress)
    if room >= 2:
        yield Line(f"{what}{' ' * room}{progress}")
    else:
        yield Line(_cut(what, columns))
        yield Line(f"    {progress}")
    for note in dict.fromkeys(each.note for each in group.stages if each.note):
        yield from (Line(f"    {text}", "yellow") for text in wrap(note, max(20, columns - 4)))


def _counts(stages: Sequence[WatchedStage]) -> Iterator[str]:
    """Lines of numbers by name, those with one reason together: "blocked: scores 3, curve 1"."""
    by_note: dict[str, dict[str, int]] = {}
    for each in stages:
        names = by_note.setdefault("" if each.state is WatchState.DONE else each.note, {})
        names[each.name] = names.get(each.name, 0) + 1
    for note, names in by_note.items():
        counts = ", ".join(f"{name} {count}" for name, count in names.items())
        yield f"{note}: {counts}" if note else counts


def _cut(text: str, columns: int) -> str:
    return text if len(text) <= columns else f"{text[: columns - 3]}..."


# -------------------------------------------------------------------------------------------------- changes


def changes(before: Snapshot | None, now: Snapshot, history: History) -> list[str]:
    """A line for every stage whose state changed, and for every tenth of progress; at first the summary."""
    if before is None:
        lines = [summary(now), *(_changed(each) for each in now.of(WatchState.FAILED))]
        return _stamped(now, [*lines, *(f"running  {each.what}  {each.progress}" for each in running(now, history))])
    earlier = {each.address: each for each in before.stages}
    lines = [
        _changed(each)
        for each in now.stages
        if (was := earlier.get(each.address)) is None or was.state is not each.state
    ]
    known = {each.what: each for each in running(before, history)}
    for group in running(now, history):
        was = known.get(group.what)
        if was is not None and group.total and _tenth(was) < _tenth(group):
            lines.append(f"running  {group.what}  {group.progress}")
    return _stamped(now, lines)


def _changed(each: WatchedStage) -> str:
    words = [f"{each.state.value:<7}", each.address, each.label]
    words += [each.note] if each.note and each.state is not WatchState.DONE else []
    words += [f"log: {each.log}"] if each.log and each.state is WatchState.FAILED else []
    return "  ".join(filter(None, words))


def _tenth(group: Running) -> int:
    return TENTHS * group.done // group.total if group.total else 0


def _stamped(now: Snapshot, lines: Sequence[str]) -> list[str]:
    return [f"{now.clock}  {line}" if now.clock else line for line in lines]
