"""Follow a plan on W&B while it runs: training steps, progress of generation, and load of the machine.

A run is opened as soon as a process works on one of its stages, under the id that it keeps (s1/track/runs.py), and
closed when its stage is finished or failed, or nobody has worked on it for a while. Several processes may follow one
store, such as one beside each job of a cluster: each run is claimed by one of them, and another one continues when that
has ended. Runs are followed online only; an offline run gets everything when its stage is finished.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from s1.track.followers import Followers
from s1.track.live_run import Channel, FollowedRun, SentRows, channels_of
from s1.track.runs import ONLINE, JobType, Marker, last_there, open_run, run_mode, run_url
from s1.track.tracked import Tracked
from s1.track.wandb_mirror import Mirror
from sweep.printable import printable
from sweep.store.directory import StageDirectory

log = logging.getLogger(__name__)

KEPT_OPEN_S = 120.0  # with no process at work: until the next stage of the point begins
MOST_OPEN = 50  # runs followed by one process at the same time
FIRST_RETRY_S, LONGEST_RETRY_S = 60.0, 960.0
SETTINGS = {"x_file_stream_transmit_interval": 5.0, "finish_timeout": 30.0}


@dataclass
class Live:
    """Follows the runs of one plan. Errors of W&B are warnings."""

    mirror: Mirror
    shards: Callable[[], Mapping[str, Sequence[str]]]  # addresses, by the address of the stage that joins them
    clock: Callable[[], float] = time.monotonic
    _opened: dict[str, FollowedRun] = field(default_factory=dict[str, FollowedRun])  # by run key
    _announced: ExitStack | None = None
    _retry_at: float | None = None
    _retry_s: float = FIRST_RETRY_S
    _has_deferred: bool = False

    def finished(self, address: str) -> None:
        """Mirror a finished stage, unless that is left to a process that follows this store online."""
        if not self.mirror.track.wandb:
            return
        if self._mode != ONLINE and self._followers.is_any_at_work():
            if not self._has_deferred:
                log.warning("W&B is offline here: what is finished is left to the process that follows this store.")
            self._has_deferred = True
            return
        for run in list(self.mirror.affected(address)) if self._opened else []:
            self._close(run.run_key, lambda followed: followed.finish(0))
        self.mirror.finished(address)

    def follow(self, at_work: Mapping[str, Path]) -> None:
        """Send what is new of these stages, given as scratch folders by address, and leave runs of no stage at work."""
        if self._mode != ONLINE or not self._is_reachable():
            return
        self._announce()
        wanted = {run.run_key: run for address in at_work for run in self._runs_of.get(address, ())}
        for key in [key for key in self._opened if key not in wanted]:
            if self.clock() - self._opened[key].seen_at > KEPT_OPEN_S:
                self._close(key, FollowedRun.leave)
        for key, run in wanted.items():
            if not self.mirror.stages.is_done(run.stage):
                self._send(key, run, at_work)

    def failed(self, failures: Mapping[str, str]) -> None:
        """Close the runs of failed stages, messages by address, and send one alert for what nobody has reported."""
        for address in failures:
            for run in self._runs_of.get(address, ()):
                self._close(run.run_key, lambda followed: followed.finish(1))
        directories = {address: StageDirectory(self.mirror.stages.directory(address)) for address in failures}
        new = {
            address: failures[address] for address, each in directories.items() if self._followers.is_first_report(each)
        }
        if new:
            self.mirror.failed(new)

    def unsent(self) -> Sequence[str]:
        """Names of runs whose stage is finished and that do not show all of it."""
        return self.mirror.unsent()

    def close(self) -> None:
        """Leave all runs: their stages may still be at work."""
        for key in list(self._opened):
            self._close(key, FollowedRun.leave)
        if self._announced is not None:
            self._announced.close()
            self._announced = None

    # ----------------------------------------------------------------------------------------------- single runs

    def _send(self, key: str, run: Tracked, at_work: Mapping[str, Path]) -> None:
        try:
            followed = self._opened.get(key) or self._open(key, run)
            if followed is None:
                return
            followed.seen_at = self.clock()
            for channel, rows in followed.new_rows(at_work):
                followed.advance(channel, rows)
                if run.job_type is JobType.CHECKPOINT:
                    self._mark(run, followed)
                followed.log(channel, rows)
        except (Exception, SystemExit) as error:  # no W&B error may cost a result
            self._close(key, FollowedRun.leave)
            self._wait_to_retry()
            fault = printable(f"{type(error).__name__}: {error}")
            log.warning("W&B does not show %s while it runs (%s). Trying again later.", run.stage, fault)
            log.debug("following %s failed", run.stage, exc_info=True)

    def _open(self, key: str, run: Tracked) -> FollowedRun | None:
        """Open a run, or continue it; None if another process follows it."""
        if len(self._opened) >= MOST_OPEN:
            return None
        home = self.mirror.home(run)
        with ExitStack() as held:
            if not held.enter_context(self._followers.sending(home.id)):
                return None
            sent = SentRows.read(self._followers.folder(home.id))
            opened = open_run(self.mirror.track, self.mirror.identity(run, home), self.mirror.directory, SETTINGS)
            url, channels = run_url(opened), self._channels(run)
            for channel in channels:
                sent.correct(channel, last_there(opened, channel.axis, sent.last.get(channel.name)))
            self._opened[key] = FollowedRun(opened, channels, sent, held.pop_all(), url, self.clock())
        self._opened[key].define()
        self._retry_s = FIRST_RETRY_S
        return self._opened[key]

    def _mark(self, run: Tracked, followed: FollowedRun) -> None:
        """Write down how many steps were sent, so that only the others follow when the stage is finished."""
        home = self.mirror.home(run)
        known = home.marker or Marker(home.id, self.mirror.result, followed.url)
        home.write(replace(known, rows=followed.sent.steps))

    def _close(self, key: str, end: Callable[[FollowedRun], None]) -> None:
        followed = self._opened.pop(key, None)
        if followed is None:
            return
        try:
            end(followed)
        except (Exception, SystemExit) as error:
            log.warning("W&B: a run was not closed properly (%s).", printable(f"{type(error).__name__}: {error}"))

    # --------------------------------------------------------------------------------------------- what runs show

    @cached_property
    def _mode(self) -> str:
        return run_mode()

    @cached_property
    def _runs_of(self) -> Mapping[str, Sequence[Tracked]]:
        """Runs by the address of each stage that they show while it is made."""
        found: dict[str, list[Tracked]] = {}
        for run in self.mirror.runs:
            for address in dict.fromkeys(channel.stage for channel in self._channels(run)):
                found.setdefault(address, []).append(run)
        return found

    def _channels(self, run: Tracked) -> list[Channel]:
        return channels_of(run, self._shards.get(run.one("traces") or "", ()))

    @cached_property
    def _shards(self) -> Mapping[str, Sequence[str]]:
        return self.shards()

    # ---------------------------------------------------------------------------------- W&B and the other processes

    @cached_property
    def _followers(self) -> Followers:
        return Followers(self.mirror.directory)

    def _announce(self) -> None:
        if self._announced is None:
            self._announced = ExitStack()
            with suppress(OSError):  # a store that cannot be written
                self._announced.enter_context(self._followers.announced())

    def _is_reachable(self) -> bool:
        """Whether W&B can be tried: after an error, only once in a while."""
        if not self.mirror.is_reachable and self._retry_at is None:
            self._wait_to_retry()
        if self._retry_at is not None and self.clock() >= self._retry_at:
            self._retry_at = None
            self.mirror.retry()
        return self._retry_at is None

    def _wait_to_retry(self) -> None:
        self._retry_at = self.clock() + self._retry_s
        self._retry_s = min(2 * self._retry_s, LONGEST_RETRY_S)
