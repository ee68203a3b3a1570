"""Processes that mirror one store at the same time: who sends which run, and who reported which failure.

store/wandb/live/<run id>/      claimed by the process that sends the run; sent.json in it (s1/track/live_run.py)
store/wandb/followers/<token>/  claimed by a process that follows the store online
store/wandb/failures/<hash>     exists once a failure was reported
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sweep.claims.claim import Rule, claimed, holder_of
from sweep.claims.holder import HolderState
from sweep.store.directory import StageDirectory
from sweep.store.temporary import token


@dataclass(frozen=True)
class Followers:
    """The folder `store/wandb`, as the processes see it that mirror the store."""

    directory: Path

    def folder(self, run_id: str) -> Path:
        """Where the state of a run is kept while it is followed."""
        return self.directory / "live" / run_id

    @contextmanager
    def sending(self, run_id: str) -> Generator[bool]:
        """Claim a run; yields False if another process sends it. Raises OSError if nothing can be written."""
        folder = self.folder(run_id)
        folder.mkdir(parents=True, exist_ok=True)
        with claimed(folder, Rule(wait=False)) as is_ours:
            yield is_ours

    @contextmanager
    def announced(self) -> Generator[None]:
        """While the context is open, other processes know that this one sends what is finished."""
        folder = self.directory / "followers" / token()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with claimed(folder):
                yield
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def is_any_at_work(self) -> bool:
        """Whether a process follows the store online, as far as this one can tell."""
        holders = (holder_of(folder) for folder in (self.directory / "followers").glob("*"))
        return any(found is not None and found[1] is not HolderState.ENDED for found in holders)

    def is_first_report(self, stage: StageDirectory) -> bool:
        """Whether no process has reported this failure of a stage; from now on, one has."""
        folder = self.directory / "failures"
        try:
            content = stage.failed_file.read_bytes()  # with its time, so that the next failure is another one
            name = hashlib.sha256(stage.address.encode() + content).hexdigest()[:16]
            folder.mkdir(parents=True, exist_ok=True)
            os.close(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        except OSError:  # nowhere to note it: better twice than never
            return True
        return True
