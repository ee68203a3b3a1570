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
from sweep.claims.holder import Holder, HolderState, holder_state, holder_text, read_holder, this_process
from sweep.claims.lock import LockAnswer, LockMode, opened, request_lock
from sweep.claims.slurm_job import state_in_slurm
from sweep.json_files import StoreError

EXCLUDED = {LockMode.SHARED: (LockMode.EXCLUSIVE,), LockMode.EXCLUSIVE: (LockMode.EXCLUSIVE, LockMode.SHARED)}
NAME_ON_DISK = {LockMode.SHARED: "shared", LockMode.EXCLUSIVE: "alone"}
BUSY = {LockMode.SHARED: "being pruned or repaired", LockMode.EXCLUSIVE: "in use by a sweep, a prune or a repair"}


@contextmanager
def store_held(root: Path, mode: LockMode) -> Generator[None]:
    """Hold the store without waiting. Raises StoreError, which names the holder, if that is not possible."""
    lock, me = root / "lock", this_process()
    ours = _token(root, mode, me.token)
    with opened(lock) as descriptor:
        answer = request_lock(descriptor, lock, mode)
        if answer is LockAnswer.TAKEN:
            raise StoreError(_busy(root, mode))
        try:
            _write(ours, holder_text(me))
            is_exclusive = answer is LockAnswer.OURS and mode is LockMode.EXCLUSIVE
            for other in _excluded(root, mode):
                if other != ours:
                    _refuse_if_held(root, mode, other, is_exclusive)
            yield
        finally:
            ours.unlink(missing_ok=True)


def sweeps_at_work(root: Path) -> list[Holder]:
    """The processes that share the store now, as far as this machine can tell: running sweeps. Read-only."""
    holders = filter(None, map(read_holder, sorted(root.glob(_token(root, LockMode.SHARED, "*").name))))
    checks = liveness_checks(root / "lock", lambda: False, lambda _: HolderState.AT_WORK)
    return [each for each in holders if holder_state(each, this_process(), checks) is HolderState.AT_WORK]


def _refuse_if_held(root: Path, mode: LockMode, place: Path, is_exclusive: bool) -> None:
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
    raise StoreError(f"{_busy(root, mode)} Held by {holder}.{gone}")


def _busy(root: Path, mode: LockMode) -> str:
    return f"store {root}: {BUSY[mode]}. Run the command again when that has ended."


def _excluded(root: Path, mode: LockMode) -> list[Path]:
    return [path for each in EXCLUDED[mode] for path in sorted(root.glob(_token(root, each, "*").name))]


def _token(root: Path, mode: LockMode, token: str) -> Path:
    return root / f".{NAME_ON_DISK[mode]}-{token}.json"


def _write(place: Path, text: str) -> None:
    temporary = place.with_suffix(".aside")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(place)
