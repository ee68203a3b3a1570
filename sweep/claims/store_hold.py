"""Hold a store: sweeps share it, prune and repair hold it exclusively, even where file locks do not work.

The lock file (flock) comes first. Each holder then writes a token, `.shared-<token>.json` or `.alone-<token>.json`, and
only then reads the tokens of others, so at least one of two conflicting holders sees the conflict. The next holder
removes tokens of processes that have ended (sweep/claims/holder.py).
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from sweep.claims.claim import liveness_checks
from sweep.claims.holder import HolderState, holder_state, holder_text, read_holder, this_process
from sweep.claims.lock import Hold, LockAnswer, opened, request_lock
from sweep.claims.slurm_job import state_in_slurm
from sweep.json_files import StoreError

EXCLUDED = {Hold.SHARED: (Hold.EXCLUSIVE,), Hold.EXCLUSIVE: (Hold.EXCLUSIVE, Hold.SHARED)}
NAME_ON_DISK = {Hold.SHARED: "shared", Hold.EXCLUSIVE: "alone"}
BUSY = {Hold.SHARED: "being pruned or repaired", Hold.EXCLUSIVE: "in use by a sweep, a prune or a repair"}


@contextmanager
def store_held(root: Path, hold: Hold) -> Generator[None]:
    """Hold the store without waiting. Raises StoreError, which names the holder, if that is not possible."""
    lock, me = root / "lock", this_process()
    ours = _token(root, hold, me.token)
    with opened(lock) as descriptor:
        answer = request_lock(descriptor, lock, hold)
        if answer is LockAnswer.TAKEN:
            raise StoreError(_busy(root, hold))
        try:
            _write(ours, holder_text(me))
            is_exclusive = answer is LockAnswer.OURS and hold is Hold.EXCLUSIVE
            for other in _excluded(root, hold):
                if other != ours:
                    _refuse_if_held(root, hold, other, is_exclusive)
            yield
        finally:
            ours.unlink(missing_ok=True)


def _refuse_if_held(root: Path, hold: Hold, place: Path, is_exclusive: bool) -> None:
    holder = read_holder(place)
    if holder is None:
        return
    state = holder_state(holder, this_process(), liveness_checks(root / "lock", lambda: is_exclusive, state_in_slurm))
    if state is HolderState.ENDED:
        place.unlink(missing_ok=True)
        return
    gone = (
        f" Its state cannot be checked from here: if it has ended, remove {place}."
        if state is HolderState.UNKNOWN
        else ""
    )
    raise StoreError(f"{_busy(root, hold)} Held by {holder}.{gone}")


def _busy(root: Path, hold: Hold) -> str:
    return f"store {root}: {BUSY[hold]}. Run the command again when that has ended."


def _excluded(root: Path, hold: Hold) -> list[Path]:
    return [path for each in EXCLUDED[hold] for path in sorted(root.glob(_token(root, each, "*").name))]


def _token(root: Path, hold: Hold, token: str) -> Path:
    return root / f".{NAME_ON_DISK[hold]}-{token}.json"


def _write(place: Path, text: str) -> None:
    temporary = place.with_suffix(".aside")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(place)
