"""Which part of a plan one batch script can carry out, given what is done. Pure.

here     stages that need no GPU, made before the job's own, as far as nothing of another script stands before them
units    the script's own, likewise; each after those it rests on
later    the first stages of other scripts, which stand in the way of the rest
"""

from __future__ import annotations

from dataclasses import dataclass

from sweep.plan import Plan, Unit
from sweep.stage import Stage


@dataclass(frozen=True)
class Share:
    here: tuple[Stage, ...]
    units: tuple[Unit, ...]
    later: tuple[Stage, ...]


def share_of(work: Plan, script: str, cpu: str) -> Share:
    """The share of `script`; of that of the scripts without GPU (`cpu`), `here` is all there is."""
    open_here: set[str] = set()  # CPU stages that can be made before the job's own
    open_all: set[str] = set()  # and the job's own
    needed = {stage.address for stage in work.needed}
    later: list[Stage] = []
    for stage in work.needed:
        inputs = {each.address for each in stage.rests_on()} & needed
        if stage.resources.script == cpu and inputs <= open_here:
            open_here.add(stage.address)
            open_all.add(stage.address)
        elif stage.resources.script == script and inputs <= open_all:
            open_all.add(stage.address)
        elif stage.resources.script not in (cpu, script) and inputs <= open_all:
            later.append(stage)
    own = [
        Unit(tuple(stage for stage in unit.stages if stage.address in open_all))
        for unit in work.units
        if unit.stages[0].resources.script == script != cpu
    ]
    units = tuple(unit for unit in own if unit.stages)
    rests = _below({address for unit in units for address in unit.waits_for}, work)
    here = tuple(s for s in work.needed if s.address in open_here and (script == cpu or s.address in rests))
    return Share(here, units, tuple(later))


def _below(addresses: set[str], work: Plan) -> set[str]:
    """These stages and all that they rest on."""
    inputs = {stage.address: {each.address for each in stage.rests_on()} for stage in work.needed}
    found: set[str] = set()
    waiting = list(addresses)
    while waiting:
        address = waiting.pop()
        if address not in found:
            found.add(address)
            waiting.extend(inputs.get(address, ()))
    return found
