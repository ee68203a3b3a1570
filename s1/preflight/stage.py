"""The preflight stage: check a node before long jobs wait for it; fail with what to do if a check fails.

checks.json     beside stage.json: every check (sweep/preflight/check.py), also if one failed
"""

from __future__ import annotations

import os
import signal
import socket
import traceback
from datetime import UTC, datetime

from s1.config.schema import ModelKind
from s1.models.location import Location, materialise, model_snapshot
from s1.preflight.checks import check_all_reduce, check_devices, check_engine, check_hub
from s1.preflight.config import EngineNeed, PreflightConfig
from s1.preflight.group import TorchGroup, joined
from sweep.core.stage import Summary, Work
from sweep.errors import SweepError
from sweep.preflight.check import CHECKS_FILE, Check, NodeChecks, combined, failed, skipped, table, write_checks
from sweep.preflight.store import check_between_nodes, check_clocks, check_publishing, check_space


class PreflightFailed(SweepError):
    """A check failed; the text says which, and what to do."""


def preflight(work: Work[PreflightConfig]) -> Summary:
    """Stage function of every rank. Raises PreflightFailed after writing checks.json."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before the first import of its library
    signal.signal(signal.SIGUSR1, _out_of_time)  # a requeued check would hang again
    needs, rank = work.config.needs, int(os.environ.get("RANK", "0"))
    work.scratch.mkdir(parents=True, exist_ok=True)
    alone = [
        check_devices(needs),
        check_publishing(work.scratch / f"publishing-{rank}"),
        check_space(work.scratch, needs.disk_gib),
        check_hub(needs.models, needs.datasets),
    ]
    try:
        with joined(needs.device) as group:
            found = _together(work, group, alone)
            if group.rank == 0:
                _report(work, found)
            group.gathered(None)  # the others end only after the report is written
    except (RuntimeError, OSError) as error:  # of torch.distributed
        traceback.print_exc()
        advice = (
            "Check the network between nodes: NCCL_SOCKET_IFNAME in slurm/site.sh, and NCCL_DEBUG=INFO for details."
        )
        found = _node(needs.kind, (_host(),), [*alone, failed("all-reduce", " ".join(str(error).split()), advice)])
        if rank == 0:
            _report(work, found)
    if found.failed:
        raise PreflightFailed("\n".join(f"{each.name}: {each.measured}. {each.advice}" for each in found.failed))
    return {"checks": len(found.checks), "hosts": ", ".join(found.hosts)}


def _together(work: Work[PreflightConfig], group: TorchGroup, alone: list[Check]) -> NodeChecks:
    """The checks that all ranks make together, and those that each made alone."""
    needs = work.config.needs
    hosts = group.gathered(_host())
    together = [
        check_all_reduce(needs, group),
        check_between_nodes(work.scratch / "between", group, hosts),
        check_clocks(work.scratch, group),
    ]
    by_rank = group.gathered([*alone, *together])
    checks = [combined(of_each) for of_each in zip(*by_rank, strict=True)]
    if needs.engine is not None and group.size == 1:
        is_usable = not checks[0].is_failed
        checks.append(_engine(work, needs.engine) if is_usable else skipped("engine", "the devices failed"))
    return _node(needs.kind, tuple(dict.fromkeys(hosts)), checks)


def _engine(work: Work[PreflightConfig], need: EngineNeed) -> Check:
    try:
        location = _location(work, need)
    except SweepError as error:
        return failed("engine", str(error), "Fix the model first.")
    return check_engine(need, location)


def _location(work: Work[PreflightConfig], need: EngineNeed) -> Location:
    """The model before fine-tuning; one that the plan makes is made aside."""
    model = need.model
    if model.kind is ModelKind.HUB:
        return Location(str(model_snapshot(model.repo or "", model.revision)), None)
    if model.kind is ModelKind.DIRECTORY:
        return Location(model.repo or "", None)
    out = work.scratch / "model"
    out.mkdir(exist_ok=True)
    materialise(Work(work.key, model, {}, out, work.scratch, work.shared, work.settings, work.report))
    return Location(str(out), None)


def _node(kind: str, hosts: tuple[str, ...], checks: list[Check]) -> NodeChecks:
    return NodeChecks(kind, hosts, datetime.now(UTC).isoformat(timespec="seconds"), tuple(checks))


def _host() -> str:
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def _report(work: Work[PreflightConfig], found: NodeChecks) -> None:
    write_checks(work.scratch.parent / CHECKS_FILE, found)
    print(table(found), flush=True)


def _out_of_time(*_signal: object) -> None:
    raise PreflightFailed(
        "preflight: a check did not end before the walltime limit of its job. See the log for the check that hangs; a"
        " network that blocks NCCL or a model on a slow file system are the usual reasons."
    )
