"""Which launch settings a cluster would refuse, from its parsed answers. Does no I/O.

Only what the cluster said counts: an unknown limit refuses nothing. `sbatch --test-only` (sweep/cli/site_check.py) has
the last word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sweep.core.launch import GpuOption, JobSettings, Launch
from sweep.core.stage import Resources
from sweep.slurm.jobs import SlurmJob
from sweep.slurm.sbatch import requested_resources
from sweep.slurm.site_answers import Association, Node, Partition, Site

MIB_PER_GIB = 1024
GPU_OPTIONS = {GpuOption.GRES: "--gres", GpuOption.GPUS_PER_NODE: "--gpus-per-node", GpuOption.NONE: None}
GIVEN_GPU_OPTIONS = ("--gres", "--gpus", "--gpus-per-node", "--gpus-per-task")  # each overrides ours
MEMORY_OPTIONS = ("--mem", "--mem-per-cpu", "--mem-per-gpu")
CPU_OPTIONS = ("--cpus-per-task", "--cpus-per-gpu", "--ntasks", "--ntasks-per-node")
SHOWN = 8  # names in a message


@dataclass(frozen=True)
class JobRequest:
    """What the cluster sees of one kind of job: what `without` drops or `sbatch` overrides is null, or its value."""

    script: str
    asked: Resources  # devices: of the machine, requested or not
    settings: JobSettings
    gpus: int  # of a node, if an option of ours requests them


def requests_of(jobs: Sequence[SlurmJob], launch: Launch) -> list[JobRequest]:
    """One for each batch script and set of resources."""
    return [_request(resources, launch) for resources in dict.fromkeys(job.resources for job in jobs)]


def _request(resources: Resources, launch: Launch) -> JobRequest:
    settings, asked = launch.settings_of(resources.script), requested_resources(resources, launch)
    given = _given_options(settings)
    absent = {*(settings.without or ()), *given}

    def named(field: str) -> str | None:
        own = None if f"--{field}" in absent else getattr(settings, field)
        return given.get(f"--{field}", own)

    gpu_option = GPU_OPTIONS[settings.gpu_option or GpuOption.GRES]
    return JobRequest(
        resources.script,
        replace(
            asked,
            nodes=asked.nodes if "--nodes" not in absent else 1,
            cpus=asked.cpus if absent.isdisjoint(CPU_OPTIONS) else None,
            memory_gib=asked.memory_gib if absent.isdisjoint(MEMORY_OPTIONS) else None,
        ),
        replace(settings, partition=named("partition"), account=named("account"), qos=named("qos")),
        asked.devices if gpu_option not in (None, *absent) and given.keys().isdisjoint(GIVEN_GPU_OPTIONS) else 0,
    )


def _given_options(settings: JobSettings) -> dict[str, str]:
    """The options in `sbatch` and their values: they come last, so each overrides ours of that name."""
    options = (each.partition("=") for each in settings.sbatch or ())
    return {name: value.strip("\"'") for name, _, value in options}


def refusals(jobs: Sequence[SlurmJob], launch: Launch, site: Site) -> list[str]:
    """A line for each setting that the cluster would refuse, without repetitions."""
    found = (line for each in requests_of(jobs, launch) for line in _job_faults(each, launch, site))
    return list(dict.fromkeys([*found, *_array_faults(launch, site)]))


def _job_faults(request: JobRequest, launch: Launch, site: Site) -> Iterator[str]:
    def place(field: str) -> str:
        return _place(launch, request.script, field)

    are_known = True  # account and QOS
    for line in _account_faults(request.settings, site, place("account"), place("qos")):
        are_known = False
        yield line
    if site.partitions is None:
        return
    chosen = chosen_partitions(request.settings, site.partitions)
    if missing := [name for name in _names(request.settings) if name not in {each.name for each in chosen}]:
        known = _listed([each.name for each in site.partitions])
        yield f"{place('partition')} {', '.join(missing)}: no such partition. There are: {known}."
        return
    if not chosen:
        known = _listed([each.name for each in site.partitions])
        yield f"{place('partition')} null: the cluster has no default partition. Name one of {known}."
        return
    if not any(each.is_up for each in chosen):
        states = ", ".join(f"{each.name} is {each.state}" for each in chosen)
        yield (
            f"{place('partition')} {request.settings.partition or 'null'}: {states}, so these jobs would not start."
            " Choose another partition, or wait until it is UP."
        )
    for each in chosen:
        yield from _partition_faults(request, each, launch, are_known)
    if site.nodes is not None:
        yield from _node_faults(request, launch, chosen, site.nodes)


def chosen_partitions(settings: JobSettings, partitions: Sequence[Partition]) -> list[Partition]:
    """The partitions that a job may run in: those named, or the default one."""
    names = _names(settings)
    return [each for each in partitions if (each.name in names if names else each.is_default)]


def _names(settings: JobSettings) -> list[str]:
    return settings.partition.split(",") if settings.partition else []


def _account_faults(settings: JobSettings, site: Site, account: str, qos: str) -> Iterator[str]:
    own = site.associations
    if own is not None and settings.account and settings.account not in {each.account for each in own}:
        yield f"{account} {settings.account}: not one of your accounts. There are: {_listed([a.account for a in own])}."
        return
    if settings.qos is None:
        return
    if site.qos is not None and settings.qos not in site.qos:
        yield f"{qos} {settings.qos}: no such QOS. There are: {_listed(site.qos)}."
    elif own is not None:
        allowed = [name for each in _of_account(own, settings) for name in each.qos]
        if allowed and settings.qos not in allowed:
            yield f"{qos} {settings.qos}: not allowed for your account. Allowed: {_listed(allowed)}."


def _of_account(associations: Sequence[Association], settings: JobSettings) -> list[Association]:
    return [each for each in associations if settings.account in (None, each.account)]


def _partition_faults(request: JobRequest, partition: Partition, launch: Launch, are_known: bool) -> Iterator[str]:
    def place(field: str) -> str:
        return _place(launch, request.script, field)

    settings = request.settings
    for field, value, allowed in (
        ("account", settings.account, partition.accounts),
        ("qos", settings.qos, partition.qos),
    ):
        if are_known and value is not None and allowed is not None and value not in allowed:
            yield f"{place(field)} {value}: not allowed in partition {partition.name}. Allowed: {_listed(allowed)}."
    if partition.most_nodes is not None and request.asked.nodes > partition.most_nodes:
        yield (
            f"machine.nodes {request.asked.nodes}: above the limit of partition {partition.name},"
            f" {partition.most_nodes} nodes. Choose another partition or machine."
        )


def _node_faults(
    request: JobRequest, launch: Launch, chosen: Sequence[Partition], nodes: Sequence[Node]
) -> Iterator[str]:
    names = {each.name for each in chosen}
    where = f"partition {', '.join(sorted(names))}"
    own = [each for each in nodes if names & {*each.partitions}]
    asked, kind = request.asked, request.settings.gpu_type
    if not own:
        return
    if request.gpus and not any(each.gpus_of(kind) >= request.gpus for each in own):
        yield _gpu_fault(request, _place(launch, request.script, "gpu_type"), where, own)
        return
    most_cpus, most_mib = max(each.cpus for each in own), max(each.memory_mib for each in own)
    per_gpu = "_per_gpu" if asked.devices else ""
    if (asked.cpus or 0) > most_cpus:
        place = _place(launch, request.script, f"cpus{per_gpu}")
        yield f"{place}: {asked.cpus} CPUs of a node, but no node of {where} has more than {most_cpus}. Lower it."
    if (asked.memory_gib or 0) * MIB_PER_GIB > most_mib:
        place = _place(launch, request.script, f"memory_gib{per_gpu}")
        most_gib = most_mib // MIB_PER_GIB
        yield f"{place}: {asked.memory_gib} GiB of a node, but no node of {where} has more than {most_gib}. Lower it."
    able = [each for each in own if _fits(each, request)]
    if 0 < len(able) < asked.nodes:
        yield f"machine.nodes {asked.nodes}: {where} has {len(able)} such nodes. Choose another partition or machine."


def _fits(node: Node, request: JobRequest) -> bool:
    asked = request.asked
    return (
        node.cpus >= (asked.cpus or 0)
        and node.memory_mib >= (asked.memory_gib or 0) * MIB_PER_GIB
        and node.gpus_of(request.settings.gpu_type) >= request.gpus
    )


def _gpu_fault(request: JobRequest, place: str, where: str, nodes: Sequence[Node]) -> str:
    kind, devices = request.settings.gpu_type, request.gpus
    known = sorted({f"{name or 'any type'} x {count}" for each in nodes for name, count in each.gpus.items()})
    there = f"its nodes have {_listed(known)}" if known else "its nodes have no GPUs"
    wanted = f"{kind} x {devices}" if kind else f"{devices} GPUs"
    return f"{place} {kind or 'null'}: no node of {where} has {wanted}; {there}. Choose what it has."


def _array_faults(launch: Launch, site: Site) -> Iterator[str]:
    most, size = site.max_array_size, launch.max_array_size
    if most is not None and size is not None and size > most:
        yield f"launch.max_array_size {size}: above MaxArraySize of the cluster, {most}. Lower it, or set it to null."


def _place(launch: Launch, script: str, field: str) -> str:
    """The field that decides: the kind's own, or that of `defaults`."""
    option = f"--{field}"
    if option in _given_options(launch.settings_of(script)):
        return f"{_place(launch, script, 'sbatch')} {option}"
    own = getattr(launch.kinds.get(script, JobSettings()), field)
    return f"launch.{'defaults' if own is None else script}.{field}"


def _listed(names: Sequence[str]) -> str:
    different = list(dict.fromkeys(names))
    more = ", ..." if len(different) > SHOWN else ""
    return f"{', '.join(different[:SHOWN])}{more}" if different else "none"
