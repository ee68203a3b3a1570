"""Files with which all workers of a result, on any node, keep to one limit.

store/<final stage>/<key>/limits.json         the limits, and the estimate of each stage that is made for this result
store/<final stage>/<key>/spending/<id>.json  one per worker: what it spent that is in no record (yet)
store/<stage>/<key>/limited.json              {by}: final stages whose limits hold for it, the last command's first

Spent is the sum of the records of these stages and of the files in spending/: a worker that was interrupted or killed
leaves its file, and so does a finished stage that is made again. Files are also kept without limits, so that a limit
that is set later counts what was spent before. All rounds of a command, and its probes, have one account.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from sweep.core.spending import Limits, Spending, stop, total
from sweep.core.typed import typed
from sweep.errors import InputError
from sweep.json_files import StoreError, read_json, write_json
from sweep.store.directory import StageDirectory, Store

LIMITS = "limits.json"
LIMITED = "limited.json"
SPENDING = "spending"


@dataclass(frozen=True)
class LimitedStage:
    """What is known of a stage before it is made."""

    usd: float | None  # estimate; None: unknown
    device_seconds: float | None
    devices: int  # that it occupies; 0: it has no hourly price
    charged_usd: float = 0.0  # by others, such as a teacher, when the limits were written
    shards: tuple[str, ...] = ()  # addresses; the record of the whole stage covers them

    @property
    def is_free(self) -> bool:
        """Whether it cannot add to the cost."""
        return not self.devices and self.usd == 0

    @property
    def expected(self) -> Spending:
        return Spending(self.usd or 0.0, self.device_seconds or 0.0)


@dataclass(frozen=True)
class LimitsFile:
    """Content of limits.json."""

    usd: float | None
    device_hours: float | None
    stages: dict[str, LimitedStage]  # made for this result, by address

    @property
    def limits(self) -> Limits:
        return Limits(self.usd, self.device_hours)


@dataclass(frozen=True)
class WorkerSpending:
    """Content of a file in spending/."""

    stages: list[str]  # addresses that the worker has not published
    usd: float  # for devices, since it last published
    device_seconds: float
    charged_usd: dict[str, float] = field(default_factory=dict[str, float])  # by others so far, by address
    # the record of a finished stage that is made again, as address@artifact: counted here once it has been set aside
    replaced: str = ""

    @property
    def open(self) -> Spending:
        return Spending(self.usd, self.device_seconds)


def write_limits(
    store: Store, final: str, limits: Limits, stages: Mapping[str, LimitedStage], needed: Iterable[str]
) -> None:
    """Set the limits of the result `final` for all stages that are about to be made.

    Limits of other results that have room for these stages hold for them too.
    """
    places = {address: StageDirectory(store.root / address).path for address in needed}
    place = store.root / final / LIMITS
    place.parent.mkdir(parents=True, exist_ok=True)
    write_json(place, asdict(LimitsFile(limits.usd, limits.device_hours, dict(stages))), durable=False)
    before = {address: [each for each in _limiting(path) if each != final] for address, path in places.items()}
    others = {each for known in before.values() for each in known}
    holding = {each for each in others if _has_room(store, each, [a for a, known in before.items() if each in known])}
    for address, path in places.items():
        path.mkdir(parents=True, exist_ok=True)
        by = [final, *(each for each in before[address] if each in holding)]
        write_json(path / LIMITED, {"by": by}, durable=False)


def _limiting(path: Path) -> list[str]:
    """Addresses in the limited.json of a stage; earlier versions wrote one."""
    with suppress(OSError, StoreError):
        by = read_json(path / LIMITED).get("by", [])
        return [by] if isinstance(by, str) else [str(each) for each in by]
    return []


def _has_room(store: Store, final: str, addresses: Sequence[str]) -> bool:
    """Whether another result has limits that these stages keep to. If not, it has no say: they are asked for anyway."""
    with suppress(OSError, StoreError):
        known, ledger = read_limits(store.root / final), Ledger(store.root / final)
        if known is None or not known.limits.is_set:
            return False
        expected = total(known.stages[each].expected for each in addresses if each in known.stages)
        left = expected.without(tried(ledger.workers(), addresses))
        return stop(known.limits, ledger.spent(known.stages), left) is None
    return False


def limited_by(directories: Iterable[StageDirectory]) -> tuple[Path, ...]:
    """Directories of the final stages whose limits hold for these stages, that of the last command first."""
    known = [[each.root / final for final in _limiting(each.path)] for each in directories]
    found = dict.fromkeys([*(each[0] for each in known if each), *(path for each in known for path in each[1:])])
    return tuple(path for path in found if (path / LIMITS).is_file())


def read_limits(final: Path) -> LimitsFile | None:
    """The limits of a result, from the directory of its final stage; None if it has none. Raises StoreError."""
    try:
        return typed(LimitsFile, read_json(final / LIMITS))
    except FileNotFoundError:
        return None
    except InputError as error:
        raise StoreError(f"{final / LIMITS}: damaged ({error}). Run the command again to rewrite it.") from None


def keep_replaced(final: Path, address: str, devices: int, charged_usd: float, covered: Spending) -> None:
    """Keep what a finished stage has cost that is about to be made again.

    `charged_usd`: by others, as its summary says; `covered`: part of its record that others keep, as of its shards.
    """
    record = _recorded(final.parents[1], address, devices)
    if record is None:
        return
    place = final / SPENDING
    for path, worker in _files(place):
        if address in worker.charged_usd:  # the stage that is made again has charges of its own
            charged_usd = max(charged_usd, worker.charged_usd[address])
            others = {name: usd for name, usd in worker.charged_usd.items() if name != address}
            write_json(path, asdict(replace(worker, charged_usd=others)), durable=False)
    kept = record.spending.without(covered)
    name = re.sub(r"[^\w.-]", "-", f"replaced-{record.name}.json")
    place.mkdir(parents=True, exist_ok=True)
    spent = WorkerSpending([], kept.usd + charged_usd, kept.device_seconds, {}, record.name)
    write_json(place / name, asdict(spent), durable=False)


@dataclass(frozen=True)
class _Record:
    """What a finished stage cost."""

    name: str  # address@artifact, different for each attempt
    spending: Spending


@dataclass
class Ledger:
    """What was spent on a result. Keeps what it has read of finished stages."""

    final: Path  # directory of the final stage
    _finished: dict[str, _Record] = field(default_factory=dict[str, _Record])

    def spent(self, stages: Mapping[str, LimitedStage]) -> Spending:
        """The sum over records, workers and charges of others."""
        root = self.final.parents[1]
        for address in stages.keys() - self._finished.keys():
            if (record := _recorded(root, address, stages[address].devices)) is not None:
                self._finished[address] = record
        merged = {shard for address in self._finished if address in stages for shard in stages[address].shards}
        names = {record.name for record in self._finished.values()}
        workers = [each for each in self.workers() if each.replaced not in names]
        charged = {address: stage.charged_usd for address, stage in stages.items()}
        for each in workers:
            for address, usd in each.charged_usd.items():
                charged[address] = max(usd, charged.get(address, 0.0))
        records = [each.spending for address, each in self._finished.items() if address in stages.keys() - merged]
        return total([*records, *(each.open for each in workers), Spending(sum(charged.values()))])

    def workers(self) -> list[WorkerSpending]:
        """What each worker spent that is in no record."""
        return [worker for _, worker in _files(self.final / SPENDING)]


def _files(place: Path) -> list[tuple[Path, WorkerSpending]]:
    found: list[tuple[Path, WorkerSpending]] = []
    for path in sorted(place.glob("*.json")):
        with suppress(OSError, StoreError, InputError):  # just removed, or torn by a crash
            found.append((path, typed(WorkerSpending, read_json(path))))
    return found


def tried(workers: Iterable[WorkerSpending], addresses: Sequence[str]) -> Spending:
    """What earlier attempts at these stages spent: they continue where those ended."""
    chosen = set(addresses)
    return total(each.open for each in workers if chosen.intersection(each.stages))


def _recorded(root: Path, address: str, devices: int) -> _Record | None:
    """What a finished stage cost; None if it has no readable record."""
    with suppress(OSError, StoreError):
        record = StageDirectory(root / address).read_record()
        name = f"{address}@{record.get('out', record['finished_at'])}"
        return _Record(name, Spending(record["usd"], record["seconds"] * devices))
    return None


def recorded_spending(root: Path, address: str, devices: int) -> Spending:
    """What a finished stage cost; nothing if it has no readable record."""
    record = _recorded(root, address, devices)
    return record.spending if record else Spending()
