"""Settings of `launch` on the command line and in a site's file: which exist, and which belong to SLURM jobs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from sweep.config.compose import CONFIG, compose
from sweep.core.launch import SCRIPTS, Container, JobSettings, Launch
from sweep.errors import InputError

SMOKE = ("+experiment=smoke", "-m")
SLURM = (*SMOKE, "launch=slurm")


def error_of(*arguments: str) -> str:
    with pytest.raises(InputError) as raised:
        compose(arguments)
    return str(raised.value)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("launch.cpu.minute=3", "launch.cpu.minutes"),
        ("launch.dryrun=true", "launch.dry_run"),
        ("launch.partiton=x", "launch.partition"),
        ("launch.container.kin=pyxis", "launch.container.kind"),
    ],
)
def test_a_misspelt_setting_is_named_with_the_one_that_slurm_has(wrong: str, meant: str) -> None:
    field = wrong.partition("=")[0]
    said = error_of(*SLURM, "launch.dry_run=true", wrong)
    assert said.startswith(f"{field}: no such field. Did you mean {meant}? Known here: ")


def settings() -> Iterator[str]:
    """Every setting of the schema, as it is written on the command line."""
    groups = {"container": Container, **dict.fromkeys(("defaults", *SCRIPTS), JobSettings)}
    for each in fields(Launch):
        inner = groups.get(each.name)
        yield from [f"{each.name}.{one.name}" for one in fields(inner)] if inner else [each.name]


def test_slurm_has_every_setting_of_the_schema() -> None:
    config = OmegaConf.load(CONFIG / "launch" / "slurm.yaml")
    missing = object()
    assert [each for each in settings() if OmegaConf.select(config, f"launch.{each}", default=missing) is missing] == []


def test_a_container_can_be_set_on_the_command_line() -> None:
    given = ("launch.container.kind=apptainer", "launch.container.image=/s1.sif", "launch.container.binds=[/shared]")
    launch = compose([*SLURM, *given]).points[0].launch
    assert (
        launch.image
        == compose([*SLURM, "launch.container={kind:apptainer,image:/s1.sif,binds:[/shared]}"]).points[0].launch.image
    )
    assert launch.image.binds == ("/shared",)
    assert compose(SLURM).points[0].launch.image is None
    assert compose([*SLURM, "launch.container=null"]).points[0].launch.image is None


@pytest.mark.parametrize(
    ("given", "missing"),
    [("launch.container.image=/s1.sif", "kind"), ("launch.container.kind=pyxis", "image")],
)
def test_half_a_container_is_refused(given: str, missing: str) -> None:
    assert error_of(*SLURM, given).startswith(f"launch.container.{missing}: missing. Add launch.container.{missing}=")


@pytest.mark.parametrize("given", ["launch.partition=gpu", "+launch.partition=gpu", "launch.cpu.minutes=3"])
def test_a_setting_of_jobs_is_refused_where_everything_runs_here(given: str) -> None:
    assert re.fullmatch(
        r"launch\.[\w.]+: a setting of SLURM jobs, but launch=local runs on this machine\. Add launch=slurm, or leave"
        r" it out\.",
        error_of(*SMOKE, given),
    )


@pytest.mark.parametrize("further", [(), ("launch.dry_run=true",)])
def test_a_site_without_slurm_in_its_defaults_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, further: tuple[str, ...]
) -> None:
    file = tmp_path / "conf" / "launch" / "mysite.yaml"
    file.parent.mkdir(parents=True)
    site = "launch:\n  defaults:\n    partition: gpu\n"
    file.write_text(f"# @package _global_\n{site}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert error_of(*SMOKE, "launch=mysite", *further).endswith(
        ": a setting of SLURM jobs, but launch=mysite runs on this machine. Begin conf/launch/mysite.yaml with"
        " `# @package _global_`, `defaults:` and `  - slurm`."
    )
    file.write_text(f"# @package _global_\ndefaults:\n  - slurm\n{site}", encoding="utf-8")
    assert compose([*SMOKE, "launch=mysite", *further]).points[0].launch.defaults.partition == "gpu"
