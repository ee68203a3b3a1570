"""Mirror results to W&B: one run per checkpoint, one per point and seed, and a summary run with the curve.

Records and metrics in the store are the source of truth; a run can be created again from them at any time. Stages can
be mirrored in any order, and again: what was sent is in the marker file of the stage (s1/track/runs.py). A point whose
curve does not exist yet gets what its scores say, and is completed under the same id when the curve is there. W&B
errors become warnings and never cost a result.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from s1.config.resources import Track
from s1.track import alerts
from s1.track.finished import FinishedStages
from s1.track.lineage import log_lineage, made_by, used_by
from s1.track.plan_runs import RunPlan
from s1.track.runs import (
    DISABLED,
    MARKER,
    JobType,
    Marker,
    RunIdentity,
    open_run,
    place_of,
    read_marker,
    run_id,
    run_mode,
    run_url,
    server_of,
    write_marker,
)
from s1.track.tracked import Tracked
from sweep.printable import printable

if TYPE_CHECKING:
    from s1.track.contents import Contents
    from s1.track.runs import Run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Home:
    """The stage directory that keeps the marker of a run, and the id of the run."""

    directory: Path
    marker_name: str
    id: str
    place: str  # of the run on W&B

    @property
    def marker(self) -> Marker | None:
        """What was sent to this run; None: nothing, or the marker is of another generation, store or place."""
        found = read_marker(self.directory, self.marker_name)
        return found if found and found.is_of(self.id, self.place, server_of) else None

    def write(self, marker: Marker) -> None:
        """Replace the marker; of a run that is online, with its place and server."""
        here = replace(marker, id=self.id, place=self.place, server=server_of() if marker.url else None)
        write_marker(self.directory, here, self.marker_name)


@dataclass
class Mirror:
    """Sends finished stages of one result to W&B; stops for this session if W&B is unreachable."""

    track: Track
    result: str  # its name
    store: Path
    store_id: Callable[[], str]
    plan: Callable[[], RunPlan]  # called once, when something is sent: a large plan takes seconds to describe
    hold: Callable[[str], AbstractContextManager[bool]] = lambda _: nullcontext(True)  # claim a run, by its id
    is_reachable: bool = True
    refused: set[str] = field(default_factory=set[str])  # run keys of runs that could not be sent
    left: set[str] = field(default_factory=set[str])  # run keys of runs that another process was sending
    failures: dict[str, str] = field(default_factory=dict[str, str])  # messages of stages that were reported as failed

    def finished(self, address: str) -> None:
        """Mirror whatever a finished stage changes: its own run, and those that it completes. Never raises for W&B."""
        if self._is_active:
            for run in self.affected(address):
                self._send(run)

    def affected(self, address: str) -> Iterator[Tracked]:
        """Runs that show a stage and whose own stage is finished."""
        for run in self.runs:
            shows = address == run.stage or (run.job_type is JobType.POINT and address == run.one("curve"))
            if shows and self.stages.is_done(run.stage):
                yield run

    def failed(self, failures: Mapping[str, str]) -> None:
        """Send one alert for all failed stages, messages by address; nothing for those that were sent before."""
        new = {address: message for address, message in failures.items() if self.failures.get(address) != message}
        if not new or not self._is_active:
            return
        summary = next((run for run in self.runs if run.job_type is JobType.SUMMARY), None)
        if summary is None:
            return
        self.failures.update(new)
        try:
            run = open_run(self.track, self.identity(summary, self.home(summary)), self.directory)
            alerts.send(run, alerts.of_failed_stages(self.result, new))
            run.finish(exit_code=1)
        except (Exception, SystemExit) as error:  # no W&B error may cost a result
            self._warn("the alert about failed stages", error)

    def retry(self) -> None:
        """Forget that W&B was unreachable."""
        self.is_reachable = True
        self.refused.clear()

    def unsent(self) -> list[str]:
        """Names of runs whose stage is finished and that do not show all of it, in the order of the plan.

        Without those that another process sends: it reports what it cannot send.
        """
        finished = [run for run in self.runs if run.run_key not in self.left and self.stages.is_done(run.stage)]
        markers = [(run, self.home(run).marker) for run in finished]
        return [run.name for run, sent in markers if sent is None or sent.sent.get(self.result) != self._state(run)]

    # ------------------------------------------------------------------------------------------------ identities

    @cached_property
    def runs(self) -> Sequence[Tracked]:
        return self._plan.runs

    @cached_property
    def _plan(self) -> RunPlan:
        return self.plan()

    @cached_property
    def stages(self) -> FinishedStages:
        return FinishedStages(self.store)

    @property
    def directory(self) -> Path:
        """Where offline runs go."""
        return self.store / "wandb"

    def home(self, run: Tracked) -> Home:
        """Where the marker of a run is: at its stage, or at one with the same bytes that was mirrored before."""
        path = self.stages.directory(run.stage)
        own = self._home_at(path, run)
        if own.marker is None and self.stages.is_done(run.stage):
            for same in self.stages.equals(run.stage):
                other = self._home_at(same, run)
                if other.marker is not None:
                    return other
        return own

    def _home_at(self, path: Path, run: Tracked) -> Home:
        suffix = run.run_key.removeprefix(run.key)  # of a point that votes over the scores of its stage
        generation = self.stages.generation(f"{path.parent.name}/{path.name}")
        name = f"wandb{suffix}.json" if suffix else MARKER
        return Home(path, name, run_id(self.store_id(), path.name + suffix, generation), place_of(self.track))

    def identity(self, run: Tracked, home: Home) -> RunIdentity:
        """What a run is, whether its stage is finished or being made."""
        marker = home.marker
        results = dict.fromkeys([*(marker.sent if marker else ()), self.result])
        return RunIdentity(
            id=home.id,
            job_type=run.job_type,
            name=run.name,
            group=marker.group if marker else self.result,
            tags=(*results, *run.tags),
            notes=run.notes,
            config={**run.config, **self._origin(run), "key": run.key, "artifacts": _artifact_names(run)},
        )

    def _origin(self, run: Tracked) -> dict[str, object]:
        """Commit and versions of the code that made what a run shows: of a point, of its generation."""
        source = run.one("traces") or run.stage
        if not (self.stages.is_done(source) and self.stages.is_done(run.stage)):
            return {}
        grading = self.stages.origin(run.stage)["versions"]
        origin = self.stages.origin(source)
        versions = {**grading, **origin["versions"]}
        return {"commit": origin["commit"], "versions": versions, "digest": self.stages.digest(run.stage)}

    # --------------------------------------------------------------------------------------------------- sending

    @property
    def _is_active(self) -> bool:
        return self.track.wandb and self.is_reachable and not self._is_disabled

    @cached_property
    def _is_disabled(self) -> bool:
        """With WANDB_MODE=disabled, wandb takes everything and sends nothing, which would count as sent."""
        return run_mode() == DISABLED

    def _send(self, tracked: Tracked) -> None:
        """Open, fill and close a run unless all of it was sent, and write its marker; log a warning for any error."""
        if not self._is_active or tracked.run_key in self.refused:
            return
        is_reached = True
        try:
            home, state = self.home(tracked), self._state(tracked)
            marker = home.marker
            if marker is not None and marker.sent.get(self.result) == state:
                return
            with self.hold(home.id) as is_ours:
                if not is_ours:  # another process follows or sends it
                    self.left.add(tracked.run_key)
                    return
                self.left.discard(tracked.run_key)
                marker = home.marker
                is_reached = False
                run = open_run(self.track, self.identity(tracked, home), self.directory)
                is_reached = True
                rows = self._filled(run, tracked, marker.rows if marker else 0)
                sent = {**(marker.sent if marker else {}), self.result: state}
                group = marker.group if marker else self.result
                home.write(Marker(home.id, group, run_url(run), sent, rows))
        except (Exception, SystemExit) as error:  # no W&B error may cost a result
            self.is_reachable = is_reached
            self.refused.add(tracked.run_key)
            self._warn(tracked.stage, error)

    def _filled(self, run: Run, tracked: Tracked, rows_sent: int) -> int:
        """Fill and close a run. Not by its context manager, which would print the traceback of an error."""
        try:
            rows = self._fill(tracked)(run, tracked, rows_sent)
            self._log_lineage(run, tracked)
        except (Exception, SystemExit):
            run.finish(exit_code=1)
            raise
        run.finish()
        return rows

    def _fill(self, tracked: Tracked) -> Callable[[Run, Tracked, int], int]:
        contents = self._contents
        return {
            JobType.CHECKPOINT: contents.training,
            JobType.POINT: contents.point,
            JobType.SUMMARY: contents.summary,
        }[tracked.job_type]

    def _log_lineage(self, run: Run, tracked: Tracked) -> None:
        """Lineage adds to the numbers: a server without artifacts costs a line in the log, not the run."""
        try:
            log_lineage(run, tracked, self.stages)
        except Exception as error:
            fault = printable(f"{type(error).__name__}: {error}")
            log.warning("W&B has no lineage of %s (%s): its numbers are there.", tracked.stage, fault)
            log.debug("lineage of %s failed", tracked.stage, exc_info=True)

    @cached_property
    def _contents(self) -> Contents:
        from s1.track.contents import Contents  # loads numpy, which planning must not wait for

        return Contents(self.stages, self.result, self._plan.stages)

    def _state(self, tracked: Tracked) -> str:
        """Digests of everything that the run shows now."""
        shown = [tracked.stage, *([curve] if (curve := tracked.one("curve")) else [])]
        return " ".join(self.stages.digest(each) for each in dict.fromkeys(shown) if self.stages.is_done(each))

    def _warn(self, what: str, error: BaseException) -> None:
        fault = printable(f"{type(error).__name__}: {error}")
        log.warning("W&B not reached for %s (%s): the result is complete without it.", what, fault)
        log.debug("mirroring %s failed", what, exc_info=True)


def _artifact_names(run: Tracked) -> dict[str, list[str]]:
    """Names of the artifacts of a run: its lineage, also where W&B cannot draw it."""
    return {"used": [each.name for each in used_by(run)], "made": [each.name for each in made_by(run)]}
