"""Files with which all workers of a result, on any node, keep to one limit.

store/<final stage>/<key>/limits.json         the limits, and the estimate of each stage that is made for this result
store/<final stage>/<key>/spending/<id>.json  one per worker: what it spent that is in no record (yet)
store/<stage>/<key>/limited.json              {by}: the final stage whose limits hold for this one, by the last command

Spent is the sum of the records of these stages and of the files in spending/: a worker that was interrupted or killed
leaves its file. A command without limits removes limits.json and limited.json.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sweep.core.spending import Limits, Spending, total
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

    @property
    def open(self) -> Spending:
        return Spending(self.usd, self.device_seconds)


def write_limits(
    store: Store, final: str, limits: Limits, stages: Mapping[str, LimitedStage], needed: Iterable[str]
) -> None:
    """Set the limits of the result `final` for all stages that are about to be made; without limits, lift them."""
    places = [StageDirectory(store.root / address).path for address in needed]
    place = store.root / final / LIMITS
    if not limits.is_set:
        for path in (place, *(each / LIMITED for each in places)):
            path.unlink(missing_ok=True)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    write_json(place, asdict(LimitsFile(limits.usd, limits.device_hours, dict(stages))), durable=False)
    for each in places:
        each.mkdir(parents=True, exist_ok=True)
        write_json(each / LIMITED, {"by": final}, durable=False)


def limited_by(directories: Iterable[StageDirectory]) -> tuple[Path, ...]:
    """Directories of the final stages whose limits hold for these stages."""
    found: dict[Path, None] = {}
    for each in directories:
        with suppress(OSError):
            found[each.root / str(read_json(each.path / LIMITED).get("by", ""))] = None
    return tuple(path for path in found if (path / LIMITS).is_file())


def read_limits(final: Path) -> LimitsFile | None:
    """The limits of a result, from the directory of its final stage; None if it has none. Raises StoreError."""
    try:
        return typed(LimitsFile, read_json(final / LIMITS))
    except FileNotFoundError:
        return None
    except InputError as error:
        raise StoreError(f"{final / LIMITS}: damaged ({error}). Run the command again to rewrite it.") from None


@dataclass
class Ledger:
    """What was spent on a result. Keeps what it has read of finished stages."""

    final: Path  # directory of the final stage
    _finished: dict[str, Spending] = field(default_factory=dict[str, Spending])

    def spent(self, stages: Mapping[str, LimitedStage]) -> Spending:
        """The sum over records, workers and charges of others."""
        root = self.final.parents[1]
        for address in stages.keys() - self._finished.keys():
            if (amount := _recorded(root, address, stages[address].devices)) is not None:
                self._finished[address] = amount
        merged = {shard for address in self._finished if address in stages for shard in stages[address].shards}
        workers = self.workers()
        charged = {address: stage.charged_usd for address, stage in stages.items()}
        for each in workers:
            for address, usd in each.charged_usd.items():
                charged[address] = max(usd, charged.get(address, 0.0))
        records = [amount for address, amount in self._finished.items() if address in stages.keys() - merged]
        return total([*records, *(each.open for each in workers), Spending(sum(charged.values()))])

    def workers(self) -> list[WorkerSpending]:
        """What each worker spent that is in no record."""
        found: list[WorkerSpending] = []
        for path in sorted((self.final / SPENDING).glob("*.json")):
            with suppress(OSError, StoreError, InputError):  # just removed, or torn by a crash
                found.append(typed(WorkerSpending, read_json(path)))
        return found


def tried(workers: Iterable[WorkerSpending], addresses: Sequence[str]) -> Spending:
    """What earlier attempts at these stages spent: they continue where those ended."""
    chosen = set(addresses)
    return total(each.open for each in workers if chosen.intersection(each.stages))


def _recorded(root: Path, address: str, devices: int) -> Spending | None:
    """What a finished stage cost; None if it has no readable record."""
    with suppress(OSError, StoreError):
        record = StageDirectory(root / address).read_record()
        return Spending(record["usd"], record["seconds"] * devices)
    return None
