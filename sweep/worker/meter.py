"""Meter what a worker spends, tell the other workers of the result, and stop it when a limit is reached.

A thread writes the worker's file in spending/ (sweep/store/spending.py) and adds up all of them every few seconds, so a
limit is overrun at most by what is in flight and what is spent in one interval.
"""

from __future__ import annotations

import os
import platform
import secrets
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field

from sweep.core.costs import HOURLY_PRICE
from sweep.core.spending import SECONDS_PER_HOUR, LimitReached, stop, total
from sweep.core.stage import Interrupted
from sweep.json_files import StoreError, write_json
from sweep.store.directory import StageDirectory
from sweep.store.documents import StageJson
from sweep.store.spending import (
    SPENDING,
    Ledger,
    LimitedStage,
    LimitsFile,
    WorkerSpending,
    limited_by,
    read_limits,
    tried,
)

INTERVAL_S = 5.0


@dataclass
class Meter:
    """What this worker spends since it last published; several results may limit it."""

    ledgers: Sequence[Ledger]
    usd_per_hour: float
    name: str = field(default_factory=lambda: f"{platform.node()}-{os.getpid()}-{secrets.token_hex(3)}.json")
    interval_s: float = INTERVAL_S
    why: str | None = None  # why the worker must stop; None: it need not
    _open: list[str] = field(default_factory=list[str])  # addresses not published
    _since: float = field(default_factory=time.monotonic)
    _charged: dict[str, float] = field(default_factory=dict[str, float])
    _charged_until: float = 0.0  # USD: look again when others have charged this much
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def require_room(self, addresses: Sequence[str]) -> None:
        """Raises LimitReached if these stages, together, would exceed a limit; what costs nothing may always begin."""
        self._open = list(addresses)
        for ledger, known in self._limited():
            stages = [known.stages[address] for address in addresses if address in known.stages]
            if all(each.is_free for each in stages):
                continue
            expected = total(each.expected for each in stages).without(tried(ledger.workers(), addresses))
            what = addresses[0] if len(addresses) == 1 else f"{addresses[0]} and {len(addresses) - 1} more"
            if line := stop(known.limits, ledger.spent(known.stages), expected, what):
                raise LimitReached(self._told(ledger, line))

    def charge(self, address: str, usd: float) -> None:
        """Add what others have charged for a stage, and check the limits once they may be reached."""
        with self._lock:
            self._charged[address] = self._charged.get(address, 0.0) + usd
            is_due = sum(self._charged.values()) >= self._charged_until
        if is_due:
            self.look()

    def published(self, address: str) -> None:
        """The record of a stage now has what was spent since the last one."""
        with self._lock:
            self._open.remove(address)
            self._since = time.monotonic()
        self.write()

    def is_over(self) -> bool:
        """Whether the worker must stop."""
        return self.why is not None

    def look(self) -> None:
        """Write this worker's file, and check the limits."""
        self.write()
        for ledger, known in self._limited():
            if not all(known.stages[each].is_free for each in self._open if each in known.stages):
                spent = ledger.spent(known.stages)
                if line := stop(known.limits, spent):
                    self.why = self._told(ledger, line)
                if known.usd is not None:
                    self._charged_until = sum(self._charged.values()) + known.usd - spent.usd

    def write(self) -> None:
        """Write what was spent and is in no record; remove the file if that is nothing."""
        for ledger, known in self._limited():
            place = ledger.final / SPENDING / self.name
            with self._lock:
                now = self._spending(known.stages)
            if not now.stages and not now.charged_usd:
                place.unlink(missing_ok=True)
                continue
            place.parent.mkdir(exist_ok=True)
            write_json(place, asdict(now), durable=False)

    def _spending(self, known: Mapping[str, LimitedStage]) -> WorkerSpending:
        seconds = time.monotonic() - self._since if self._open else 0.0
        devices = max((known[each].devices for each in self._open if each in known), default=0)
        usd = seconds * self.usd_per_hour / SECONDS_PER_HOUR
        return WorkerSpending(list(self._open), usd, seconds * devices, dict(self._charged))

    def _told(self, ledger: Ledger, line: str) -> str:
        """The line, with the result whose limit it is if that is not the one of the last command."""
        if ledger is self.ledgers[0]:
            return line
        other = StageDirectory(ledger.final).address
        reached = line.partition(" To continue")[0]
        return (
            f"{reached} The limit is that of {other}, which needs the same stage. To go on without it, run your command"
            " again."
        )

    def _limited(self) -> Generator[tuple[Ledger, LimitsFile]]:
        """Limits are read again each time: a later command may have raised or lifted them."""
        for ledger in self.ledgers:
            if (known := read_limits(ledger.final)) is not None:
                yield ledger, known


@contextmanager
def metered(waiting: Sequence[StageDirectory], stages: Sequence[StageJson]) -> Generator[Meter]:
    """Meter a worker while it makes these stages. Raises LimitReached in place of Interrupted if a limit stopped it."""
    prices = [float(price) for each in stages if isinstance(price := each["settings"].get(HOURLY_PRICE), int | float)]
    meter = Meter([Ledger(final) for final in limited_by(waiting)], max(prices, default=0.0))
    meter.require_room([each.address for each in waiting])
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(meter.interval_s):
            with suppress(OSError, StoreError):  # tried again
                meter.look()

    if meter.ledgers:
        threading.Thread(target=watch, name="meter", daemon=True).start()
    try:
        yield meter
    except Interrupted as interruption:
        if meter.why is not None:
            raise LimitReached(meter.why) from interruption
        raise
    finally:
        ended.set()
        with suppress(OSError, StoreError):
            meter.write()
