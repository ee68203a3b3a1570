"""The written report of a published result: as Markdown, or on W&B beside the runs that were mirrored.

The findings are read from the store, as the result names them: their bytes must be those that the result was made from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from s1.report.findings import FILE_NAME, Findings, cited, read_findings
from s1.report.written.blocks import RunSet, WrittenReport
from s1.report.written.content import ResultFacts, written_report
from s1.report.written.markdown import markdown
from s1.stages import ReportConfig
from s1.track.charts import preset_at
from s1.track.finished import FinishedStages
from s1.track.runs import Marker, is_logged_in, read_marker
from s1.track.wandb_report import RunsOnServer, missing_run, save_report, save_workspace
from sweep.core.pipeline import PublishedResult
from sweep.core.typed import typed
from sweep.errors import InputError
from sweep.json_files import StoreError, read_json, write_json
from sweep.printable import printable
from sweep.secrets import redacted
from sweep.store.directory import StageDirectory

VIEWS = "views.json"  # in store/wandb: addresses of workspaces, by entity/project/name
SYNC = "Mirror it first: sweep sync, with the fields of its command"


@dataclass(frozen=True)
class ResultReport:
    """The report of one result, read when it is rendered."""

    result: PublishedResult

    def markdown(self, link: Callable[[str], str]) -> str:
        return markdown(self.written, link)

    def send(self, project: str | None) -> Sequence[str]:
        """Create or update report and workspace; returns lines to print. `project`: ENTITY/PROJECT of the runs."""
        _require_login()
        written, marker = self.written, self.marker
        try:
            entity, project = _place_of(marker, project)
            _require_run(f"{entity}/{project}/{marker.id}")
            runs = self.runs(entity, project, marker)
            lines = [f"report: {save_report(written, runs)}", f"workspace: {self._workspace(runs)}"]
        except InputError:
            raise
        except Exception as error:  # of wandb, which has no common type for them
            fault = printable(redacted(f"{type(error).__name__}: {error}"))
            raise InputError(
                f"--wandb: W&B refused or did not answer ({fault}). Try again, or leave --wandb out for Markdown."
            ) from error
        if runs.preset is None:
            lines.append("chart: this server has no custom charts, so the report draws valid points without intervals")
        return lines

    # ---------------------------------------------------------------------------------------------- what it says

    @cached_property
    def stages(self) -> FinishedStages:
        return FinishedStages(self.result.store)

    @cached_property
    def written(self) -> WrittenReport:
        facts = ResultFacts(
            name=self.result.name,
            digest=str(self.result.stages[self.result.artifact]["digest"]),
            stages=self.result.stages,
            files=self.result.files,
            costs=self.result.costs,
            cost_line=self.result.cost_line,
        )
        return written_report(self.findings, self._config(), facts)

    @cached_property
    def findings(self) -> Findings:
        """Raises InputError if the store lacks the curve of the result, or has another one."""
        curve = next((address for address in self.result.stages if address.startswith("curve/")), None)
        if curve is None:
            raise InputError(f"report {self.result.name}: has no curve. Name a result of goal=curve.")
        self._require_same(curve)
        try:
            return read_findings(self.stages.checked(curve, FILE_NAME).parent)
        except (OSError, ValueError) as error:
            raise InputError(f"report {self.result.name}: {curve} cannot be read ({error}).") from None

    def _require_same(self, address: str) -> None:
        """Raises InputError unless the store has the bytes that the result was made from."""
        try:
            there = self.stages.digest(address)
        except (StoreError, OSError):
            there = ""
        if not there:
            raise InputError(
                f"report {self.result.name}: {address} is not in the store {self.result.store}."
                " Name its store: --store DIR."
            )
        named = str(self.result.stages[address]["digest"])
        if there != named:
            key = address.rpartition("/")[2]
            raise InputError(
                f"report {self.result.name}: the store has {cited(key, there)}, and the result was made from"
                f" {cited(key, named)}. Run its command again, then report the new result."
            )

    def _config(self) -> ReportConfig:
        """Raises InputError if the result was made by an earlier version."""
        artifact = self.result.artifact
        self._require_same(artifact)
        described = StageDirectory(self.stages.directory(artifact)).read_stage()
        return typed(ReportConfig, described["identity"]["config"])

    # --------------------------------------------------------------------------------------------- where its runs are

    @cached_property
    def marker(self) -> Marker:
        """The summary run. Raises InputError if the result was not mirrored."""
        markers = list(self._markers([self.result.artifact]))
        if not markers:
            raise InputError(f"--wandb: {self.result.name} has no run on W&B yet. {SYNC}.")
        return markers[0]

    def runs(self, entity: str, project: str, marker: Marker) -> RunsOnServer:
        sources = [source.key for point in self.findings.points() for source in point.sources]
        points = [f"scores/{key}" for key in dict.fromkeys(sources)]
        trained = [address for address, stage in self.result.stages.items() if "train_loss" in stage["summary"]]
        addresses = {RunSet.SUMMARY: [self.result.artifact], RunSet.POINTS: points, RunSet.CHECKPOINTS: trained}
        groups = {each.group for its in addresses.values() for each in self._markers(its)}
        return RunsOnServer(
            entity=entity,
            project=project,
            name=self.result.experiment,
            group=marker.group if groups == {marker.group} else None,
            keys={kind: [path.name for path in self._homes(its)] for kind, its in addresses.items()},
            preset=preset_at(entity),
        )

    def _homes(self, addresses: Iterable[str]) -> list[Path]:
        """Directories of stages, and of those with the same bytes: the run of any of them is theirs."""
        paths = [path for address in addresses for path in (self.stages.directory(address), *self._equals(address))]
        return list(dict.fromkeys(paths))

    def _equals(self, address: str) -> Sequence[Path]:
        return self.stages.equals(address) if self.stages.is_done(address) else ()

    def _markers(self, addresses: Iterable[str]) -> Iterable[Marker]:
        for path in self._homes(addresses):
            for file in sorted(path.glob("wandb*.json")):
                with suppress(ValueError, TypeError):  # of an earlier version
                    if (found := read_marker(path, file.name)) is not None:
                        yield found

    def _workspace(self, runs: RunsOnServer) -> str:
        file, name = self.result.store / "wandb" / VIEWS, f"{runs.path}/{runs.name}"
        known: dict[str, str] = {}
        with suppress(OSError, StoreError):
            known = read_json(file)
        url = save_workspace(runs, known.get(name))
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, {**known, name: url}, durable=False)
        return url


def _require_login() -> None:
    """Raises InputError without credentials."""
    if not is_logged_in():
        raise InputError("--wandb: not logged in to W&B. Run wandb login, or leave --wandb out for Markdown.")


def _place_of(marker: Marker, project: str | None) -> tuple[str, str]:
    """Entity and project of the runs. Raises InputError if nothing says where they are."""
    if project is not None:
        entity, _, name = project.partition("/")
        if not entity or not name or "/" in name:
            raise InputError(f"--project {project}: not a project. Write ENTITY/PROJECT.")
        return entity, name
    if marker.url is None:
        raise InputError(
            "--wandb: the runs of this result are offline, in store/wandb. Upload them with"
            " wandb sync store/wandb/offline-run-*, then add --project ENTITY/PROJECT."
        )
    entity, name = urlsplit(marker.url).path.strip("/").split("/")[:2]
    return entity, name


def _require_run(path: str) -> None:
    """Raises InputError if the server does not have the summary run."""
    if (missing := missing_run(path)) is not None:
        raise InputError(f"--wandb: no run {path} on the server ({printable(missing)}). {SYNC}.")
