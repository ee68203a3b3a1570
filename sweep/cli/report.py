"""The command `report`: a written report on a published result, as Markdown or on the tracker. Changes no result."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

from sweep.config.compose import compose_entry, pipeline_of
from sweep.console import Console, escape
from sweep.core.costs import by_name, totals
from sweep.core.pipeline import PublishedResult
from sweep.errors import InputError
from sweep.places import expanded
from sweep.results.costs import stage_costs
from sweep.results.find import find_result
from sweep.results.result import MANIFEST, Result
from sweep.store.directory import Store


def report(
    console: Console, result: str, wandb: bool, to: str | None, project: str | None, overrides: Sequence[str]
) -> int:
    """Print a report, write it to a file, or send it to the tracker; exit status 0."""
    if project is not None and not wandb:
        raise InputError(f"--project {project}: only with --wandb. Add --wandb, or leave this out.")
    target = expanded("--to", to) if to is not None else None
    if target is not None and not target.absolute().parent.is_dir():
        raise InputError(f"--to {to}: its folder does not exist. Create it, or choose another file.")
    entry = compose_entry(overrides)
    store = Store(entry.store)
    found = find_result("report", result, entry.results, store)
    if target is not None:
        _refuse_result(target)
    written = pipeline_of(entry.pipeline, "report").report(_published(found, store))
    if target is not None:
        target.write_text(written.markdown(_links(found.path, target.absolute().parent)), encoding="utf-8")
        console.print(f"written to {target}", soft_wrap=True, markup=False)
    if wandb:
        for line in written.send(project):
            console.print(escape(line), soft_wrap=True)
    if target is None and not wandb:
        print(written.markdown(_links(found.path, Path.cwd())), end="")
    return 0


def _published(found: Result, store: Store) -> PublishedResult:
    """Raises InputError for a result of a version that did not name its final stage."""
    content, artifact = found.manifest.content, found.manifest.artifact
    if artifact is None or artifact not in content["stages"]:
        raise InputError(f"report {found.name}: published by an earlier version. Run its command again.")
    rows = stage_costs(content["stages"], content.get("beside"))
    sums = totals(rows)
    return PublishedResult(
        name=found.name,
        experiment=found.manifest.experiment,
        path=found.path,
        store=store.root,
        artifact=artifact,
        stages={address: dict(stage) for address, stage in content["stages"].items()},
        files=sorted(found.manifest.files or ()),
        costs=[asdict(row) for row in by_name(rows)],
        cost_line=sums.line if sums else None,
    )


def _links(result: Path, folder: Path) -> Callable[[str], str]:
    """From a file of a result to its address in a text that lies in `folder`."""
    return lambda name: quote(Path(os.path.relpath(result.resolve() / name, folder.resolve())).as_posix())


def _refuse_result(target: Path) -> None:
    """Raises InputError for a file of a result, since results are never changed."""
    if target.is_dir():
        raise InputError(f"--to {target}: a folder. Name a file.")
    inside = (folder for folder in target.resolve().parents if (folder / MANIFEST).is_file())
    if folder := next(inside, None):
        raise InputError(f"--to {target}: inside the result {folder}, which is never changed. Choose another place.")
