"""Shell lines with which batch scripts run Python in a container. Does no I/O.

Batch scripts themselves run on the host, because they call squeue and scontrol, and so does the Python that submits
and restarts jobs: the one that planned the sweep. slurm/job.sh explains the variables.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from sweep.core.launch import Container, Containers

STEP = ("srun", "--nodes=1", "--ntasks=1", "--ntasks-per-node=1", "--export=ALL")  # on the first node of a job
STEP_CPUS = '--cpus-per-task="${SLURM_CPUS_ON_NODE:-1}"'  # srun does not take them from the job
CALL = "# Python runs as: "  # begins a comment with the whole call, for readers


def container_lines(container: Container, shared: Sequence[str]) -> list[str]:
    """Lines for slurm/site.sh. `shared`: folders that are always mounted, at their own path."""
    binds = list(dict.fromkeys([*shared, *container.binds]))
    is_apptainer = container.kind is Containers.APPTAINER
    words = _apptainer(container, binds) if is_apptainer else _pyxis(container, binds)
    call = [*(() if is_apptainer else ("srun",)), *words, container.python]
    return [
        "",
        "# The container of launch.container.",
        f"{CALL}{shlex.join(call)} -m sweep.worker.run ...",
        "HOST_PYTHON=${PYTHON:-python}",
        f"PYTHON={shlex.quote(container.python)}",
        *(_around(words) if is_apptainer else _on_step(words)),
    ]


def call_in(site: str) -> list[str]:
    """The comment with the whole call, of the text of slurm/site.sh; empty without a container."""
    return [line for line in site.splitlines() if line.startswith(CALL)][-1:]


def container_faults(container: Container, store: str) -> Iterator[str]:
    """What cannot be written into a script or an option, a line each."""
    for field, value in (("image", container.image or ""), ("python", container.python)):
        if not value.isprintable():
            yield f"launch.container.{field} {value!r}: has a control character. Rename the file."
    if _is_relative(container):
        yield (
            f"launch.container.image {container.image}: a relative path, but jobs run in a copy of the code. Write an"
            " absolute path, or a reference such as docker://IMAGE."
        )
    if "," in store or ":" in store:
        yield f"store {store!r}: has a comma or a colon, which a mount cannot have. Choose another directory."
    for bind in container.binds:
        if not bind.isprintable() or "," in bind or not bind.startswith("/"):
            yield (
                f"launch.container.binds {bind!r}: not an absolute path, or has a comma or a control character. Write"
                " FROM or FROM:TO."
            )


def _is_relative(container: Container) -> bool:
    """Whether the image is a file by a path that is not absolute; to pyxis, other words are names in a registry."""
    image = container.image or ""
    if image.startswith(("~", "./", "../")):
        return True
    return container.kind is Containers.APPTAINER and "://" not in image and not image.startswith("/")


def _apptainer(container: Container, binds: Sequence[str]) -> list[str]:
    assert container.image is not None  # Container checks it
    mounts = [word for each in binds for word in ("--bind", each)]
    return ["apptainer", "exec", "--nv", *mounts, container.image]


def _around(words: Sequence[str]) -> list[str]:
    return [f"CONTAINER=({shlex.join(words)})", 'CONTAINER_IN_STEP=("${CONTAINER[@]}")']


def _pyxis(container: Container, binds: Sequence[str]) -> list[str]:
    mounts = ",".join(each if ":" in each else f"{each}:{each}" for each in binds)
    return [f"--container-image={container.image}", f"--container-mounts={mounts}"]


def _on_step(options: Sequence[str]) -> list[str]:
    return [
        f"CONTAINER_STEP=({shlex.join(options)})",
        f'CONTAINER=({shlex.join(STEP)} {STEP_CPUS} "${{CONTAINER_STEP[@]}}")',
    ]
