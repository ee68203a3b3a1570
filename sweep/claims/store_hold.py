"""Hold a store: sweeps share it, what removes or mends has it alone; also where locks do not lock.

The lock file (flock) comes first. Beside it each holder puts a token of its own, `.shared-<token>.json` or
`.alone-<token>.json`, and only then looks at those of others: of two that exclude each other at least one sees it.
Tokens of processes that have ended are removed by the next one (sweep/claims/holder.py).
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from sweep.claims.claim import asking
from sweep.claims.holder import Fate, fate_of, holder_text, read_holder, this_process
from sweep.claims.job_fate import fate_in_slurm
from sweep.claims.lock import Hold, LockAnswer, opened, request_lock
from sweep.json_files import StoreError

EXCLUDED = {Hold.SHARED: (Hold.ALONE,), Hold.ALONE: (Hold.ALONE, Hold.SHARED)}
BUSY = {Hold.SHARED: "being pruned or mended", Hold.ALONE: "a sweep, a prune or a mend is at work"}


@contextmanager
def store_held(root: Path, hold: Hold) -> Generator[None]:
    """Raises StoreError, which names the holder, instead of waiting."""
    lock, me = root / "lock", this_process()
    ours = _token(root, hold, me.token)
    with opened(lock) as descriptor:
        answer = request_lock(descriptor, lock, hold)
        if answer is LockAnswer.TAKEN:
            raise StoreError(_busy(root, hold))
        try:
            _write(ours, holder_text(me))
            is_alone = answer is LockAnswer.OURS and hold is Hold.ALONE
            for other in _excluded(root, hold):
                if other != ours:
                    _refuse_if_there(root, hold, other, is_alone)
            yield
        finally:
            ours.unlink(missing_ok=True)


def _refuse_if_there(root: Path, hold: Hold, place: Path, is_alone: bool) -> None:
    holder = read_holder(place)
    if holder is None:
        return
    fate = fate_of(holder, this_process(), asking(root / "lock", lambda: is_alone, fate_in_slurm))
    if fate is Fate.ENDED:
        place.unlink(missing_ok=True)
        return
    gone = f" That cannot be asked from here: if it is gone, remove {place}." if fate is Fate.UNKNOWN else ""
    raise StoreError(f"{_busy(root, hold)} Held by {holder}.{gone}")


def _busy(root: Path, hold: Hold) -> str:
    return f"store {root}: {BUSY[hold]}. Run the command again when that has ended."


def _excluded(root: Path, hold: Hold) -> list[Path]:
    return [path for each in EXCLUDED[hold] for path in sorted(root.glob(_token(root, each, "*").name))]


def _token(root: Path, hold: Hold, token: str) -> Path:
    return root / f".{hold.name.lower()}-{token}.json"


def _write(place: Path, text: str) -> None:
    aside = place.with_suffix(".aside")
    aside.write_text(text, encoding="utf-8")
    aside.replace(place)
