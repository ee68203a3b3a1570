"""One W&B run that is followed while its stages are made: which rows it shows, and which of them were sent.

The axis of each channel (`train/step`, `generate/seconds`, `machine/seconds`) increases from row to row. W&B only
appends, so a row is sent once: before it is logged, its place on the axis is written to `sent.json`. Whoever continues
sends only rows beyond that place, or beyond the last one that arrived. A row that a resumed stage repeats is not sent
again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from s1.generate.progress import GENERATE
from s1.track.runs import JobType
from s1.track.tracked import Tracked
from s1.track.training_run import NAMES
from s1.train.metrics import TRAIN
from sweep.json_files import StoreError, read_json, write_json
from sweep.store.tail import MACHINE, Row, Stream, TailReader, after

SENT_FILE = "sent.json"


@dataclass(frozen=True)
class Channel:
    """The rows of one stage on a run: `<name>/<field>` over `<name>/<axis>`."""

    name: str
    stage: str  # address
    stream: Stream

    @property
    def axis(self) -> str:
        return f"{self.name}/{self.stream.axis}"

    def shown(self, row: Row) -> dict[str, float]:
        """A row under the names of W&B."""
        if self.stream == TRAIN:
            return {NAMES.get(field, f"{self.name}/{field}"): value for field, value in row.items()}
        return {f"{self.name}/{field}": value for field, value in row.items()}


def channels_of(run: Tracked, shards: Sequence[str] = ()) -> list[Channel]:
    """What a run shows while its stages are made; `shards`: of its traces, each a channel of its own."""
    if run.job_type is JobType.CHECKPOINT:
        return [Channel(TRAIN.name, run.stage, TRAIN), Channel(MACHINE.name, run.stage, MACHINE)]
    traces = run.one("traces") if run.job_type is JobType.POINT else None
    if traces is None:
        return []
    if not shards:
        return [Channel(GENERATE.name, traces, GENERATE), Channel(MACHINE.name, traces, MACHINE)]
    return [
        Channel(f"{stream.name}_{number}", address, stream)
        for number, address in enumerate(shards)
        for stream in (GENERATE, MACHINE)
    ]


@dataclass
class SentRows:
    """How far each channel was sent, on disk. Raises OSError where that cannot be written."""

    file: Path
    last: dict[str, float] = field(default_factory=dict[str, float])  # place on the axis, by channel

    @classmethod
    def read(cls, folder: Path) -> SentRows:
        try:
            known = read_json(folder / SENT_FILE)
        except (FileNotFoundError, StoreError):
            known = {}
        return cls(folder / SENT_FILE, {name: at for name, at in known.items() if isinstance(at, int | float)})

    @property
    def steps(self) -> int:
        """Training steps that were sent: as many rows of metrics.jsonl."""
        return int(self.last.get(TRAIN.name, 0))

    def correct(self, channel: Channel, there: float | None) -> None:
        """Send again what was sent and did not arrive; `there`: the last place that arrived, None: nothing."""
        if there is None:
            self.last.pop(channel.name, None)
        else:
            self.last[channel.name] = there

    def unsent(self, channel: Channel, rows: Sequence[Row]) -> list[Row]:
        """Rows beyond the last one that was sent."""
        return after(rows, channel.stream.axis, self.last.get(channel.name))

    def advance(self, channel: Channel, row: Row) -> None:
        """Record that the rows up to this one are being sent."""
        self.last[channel.name] = row[channel.stream.axis]
        write_json(self.file, self.last, durable=False)


class OpenRun(Protocol):
    """What is used of wandb's Run."""

    def define_metric(self, name: str, *, step_metric: str | None = None) -> Any: ...
    def log(self, data: dict[str, Any]) -> None: ...
    def mark_preempting(self) -> None: ...
    def finish(self, exit_code: int | None = None) -> None: ...


@dataclass
class FollowedRun:
    """An open W&B run; `held` is what its end releases."""

    run: OpenRun
    channels: Sequence[Channel]
    sent: SentRows
    held: ExitStack
    url: str | None
    seen_at: float  # when one of its stages was last at work; monotonic clock, seconds
    _readers: dict[str, TailReader] = field(default_factory=dict[str, TailReader])

    def define(self) -> None:
        """Draw each channel over its own axis, not over W&B's count of rows."""
        for channel in self.channels:
            self.run.define_metric(channel.axis)
            self.run.define_metric(f"{channel.name}/*", step_metric=channel.axis)

    def new_rows(self, scratch: Mapping[str, Path]) -> Iterator[tuple[Channel, list[Row]]]:
        """What was not sent yet of the stages at work, whose scratch folders are given by address."""
        for channel in self.channels:
            if channel.stage in scratch:
                file = channel.stream.file(scratch[channel.stage])
                reader = self._readers.setdefault(channel.name, TailReader(file))
                if rows := self.sent.unsent(channel, reader.new_rows()):
                    yield channel, rows

    def advance(self, channel: Channel, rows: Sequence[Row]) -> None:
        """Note that these rows are being sent: from now on they count as sent, even if this process is killed."""
        self.sent.advance(channel, rows[-1])

    def log(self, channel: Channel, rows: Sequence[Row]) -> None:
        """Send rows, after `advance`."""
        for row in rows:
            self.run.log(channel.shown(row))

    def finish(self, exit_code: int) -> None:
        """Close the run: 0 for a finished stage, others for a failed one."""
        with self.held:
            self.run.finish(exit_code=exit_code)

    def leave(self) -> None:
        """Close the run of an interrupted stage: W&B shows it as preempted until it is continued."""
        with self.held:
            self.run.mark_preempting()
            self.run.finish(exit_code=1)
