"""Follow stages until nothing runs any more: a screen on a terminal, a line for every change elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.live import Live
from rich.text import Text

from sweep.cli.watch_stages import WatchedStages
from sweep.cli.watch_view import History, Line, Snapshot, changes, screen, summary
from sweep.console import Console, escape
from sweep.core.interrupt import EXIT_INTERRUPTED


def follow(console: Console, followed: Sequence[WatchedStages], every_s: float | None = None) -> int:
    """Show stages until nothing runs or waits in a queue; returns 0 if all are done, otherwise 1.

    Looks every so many seconds; None: as often as the slowest of what is followed asks for.
    """
    try:
        last = _shown(console, followed, every_s or max(each.interval_s for each in followed))
    except KeyboardInterrupt:
        console.errors.print("interrupted: what was followed goes on. sweep watch shows it again.")
        return EXIT_INTERRUPTED
    if last is None or last.is_complete:
        return 0
    advice = " ".join(dict.fromkeys(each.advice for each in followed))
    console.print(escape(f"{summary(last)}. Nothing runs any more. {advice}"), soft_wrap=True)
    return 1


def _shown(console: Console, followed: Sequence[WatchedStages], every_s: float) -> Snapshot | None:
    """Show every snapshot; returns the last one."""
    history, last = History(), None
    with Live(console=console, auto_refresh=False) if console.is_terminal else _Lines(console) as shown:
        for last in _snapshots(followed, every_s):
            history = history.with_snapshot(last)
            if isinstance(shown, Live):
                shown.update(_text(screen(last, history, console.width)), refresh=True)
            else:
                shown.show(last, history)
    return last


class _Lines:
    """Prints what changed since the last snapshot."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.before: Snapshot | None = None

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def show(self, now: Snapshot, history: History) -> None:
        for line in changes(self.before, now, history):
            self.console.print(escape(line), soft_wrap=True)
        self.console.file.flush()  # a pipe holds lines back
        self.before = now


def _snapshots(followed: Sequence[WatchedStages], every_s: float) -> Iterator[Snapshot]:
    """One after each interval, to the first of a moment at which nothing runs any more."""
    while True:
        looks = [each.look() for each in followed]
        stages = {stage.address: stage for look in reversed(looks) for stage in look.stages}
        now = Snapshot(
            title=", ".join(each.title for each in followed),
            stages=tuple(stages.values()),
            at_s=time.monotonic(),
            clock=f"{datetime.now():%H:%M:%S}",
            is_alive=any(look.is_alive for look in looks),
        )
        yield now
        if now.is_complete or not now.is_alive:
            return
        time.sleep(every_s)


def _text(lines: Sequence[Line]) -> Text:
    text = Text(overflow="fold")
    for each in lines:
        text.append(f"{each.text}\n", style=each.style)
    return text
