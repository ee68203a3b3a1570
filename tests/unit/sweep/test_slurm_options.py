"""No value adds a line or option to a batch script; unsafe values are refused before any file is written."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest

from sweep.cli.probe import srun_line
from sweep.cli.run import sweep
from sweep.config.compose import compose
from sweep.console import Console
from sweep.core.launch import GpuOption, JobSettings, Launch, LaunchKind
from sweep.core.stage import Resources
from sweep.errors import InputError
from sweep.plan.graph import plan
from sweep.slurm import lifecycle
from sweep.slurm.jobs import Element, SlurmJob
from sweep.slurm.sbatch import (
    DIRECTIVE,
    LEAVABLE_OPTIONS,
    RESERVED_OPTIONS,
    options_of,
    refuse_other_clusters,
    refuse_unsafe,
    script_of,
)
from sweep.store.directory import Store
from tests.support import toy_queue
from tests.support.toy_queue import make_stage

SLURM = Launch(LaunchKind.SLURM, max_array_size=1001)
ENDS_A_VALUE = (
    "main\n#SBATCH --uid=0",
    "main\r--uid=0",
    "main --uid=0",
    " main",
    "main ",
    "main\t",
    "a#b",
    'a"b',
    "a\\b",
)
ENDS_A_LINE = ("\n", "\r", "\v", "\f", "\x1b", "\x85", "\u2028", "\u2029", "\0")


def with_defaults(**settings: Any) -> Launch:
    return dataclasses.replace(SLURM, defaults=JobSettings(**settings))


@pytest.mark.parametrize("field", ["partition", "account", "qos", "constraint", "gpu_type"])
@pytest.mark.parametrize("value", [*ENDS_A_VALUE, "", *(f"a{end}b" for end in ENDS_A_LINE), "a'b"])
def test_a_value_that_would_become_several_options_is_refused(field: str, value: str) -> None:
    with pytest.raises(InputError, match=f"launch.defaults.{field} .*: .*[.] "):
        refuse_unsafe(with_defaults(**{field: value}), "toy", "/store")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("partition", "gpu,gpu-long"),
        ("account", "lab_a.b@site"),
        ("qos", "high+"),
        ("constraint", "[rack1*2&(nvlink|h100)]"),
        ("gpu_type", "a100_1g.5gb"),
        (
            "sbatch",
            (
                "--cluster-constraint=a",
                "--reservation=friday",
                "--exclude=n[1,3]",
                '--comment="two words"',
                "--hold",
                "--wait-all-nodes=1",
            ),
        ),
        ("without", ("--mem", "--exclusive", "--cpus-per-task")),
    ],
)
def test_common_site_options_are_accepted(field: str, value: object) -> None:
    refuse_unsafe(with_defaults(**{field: value}), "toy", "/data/a b, c #1/100%/store")


@pytest.mark.parametrize(
    ("option", "why"),
    [
        *((f"--nice=1{end}#SBATCH --uid=0", "control character") for end in ENDS_A_LINE),
        ("nice=10", "does not begin with --"),
        ("-n 4", "does not begin with --"),
        ("-J name", "only the launcher may set --job-name"),
        ("-Jname", "only the launcher may set --job-name"),
        ("-a0-9", "only the launcher may set --array"),
        ("-d afterok:1", "only the launcher may set --dependency"),
        ("-D/tmp", "only the launcher may set --chdir"),
        ("-o /tmp/x", "only the launcher may set --output"),
        ("-W", "only the launcher may set --wait"),
        ("-Mother", "only the launcher may set --clusters: squeue here would not see jobs of another cluster"),
        ("-M other", "only the launcher may set --clusters"),
        ("--clusters=other", "only the launcher may set --clusters: squeue here would not see jobs of another cluster"),
        ("--cluster=other", "only the launcher may set --clusters"),
        ("--clus other", "only the launcher may set --clusters"),
        ("--output=/tmp/x", "only the launcher may set --output"),
        (" --nice=10", "blanks around it"),
        ("--nice=10 ", "blanks around it"),
        ("", "does not begin with --"),
        ("--", "does not begin with --"),
        ("--nice=1 --hold", "more than one option"),
        ("--comment=a #b", "more than one option, or a #"),
        ("--comment=a#b", "more than one option, or a #"),
        ('--comment="a', "unclosed quote"),
        ("--job-name=mine", "only the launcher may set --job-name"),
        ("--job-n=mine", "only the launcher may set --job-name"),
        ("--array=0-9", "only the launcher may set --array"),
        ("--wrap=date", "only the launcher may set --wrap"),
        ("--wait", "only the launcher may set --wait"),
    ],
)
def test_an_element_of_sbatch_is_one_option(option: str, why: str) -> None:
    with pytest.raises(InputError, match=f"launch.defaults.sbatch .*{why}"):
        refuse_unsafe(with_defaults(sbatch=("--nice=1", option)), "toy", "/store")


@pytest.mark.parametrize("option", ["mem", "--mem=0", "--mem\n", "--job-name", " --mem"])
def test_an_element_of_without_names_an_option(option: str) -> None:
    with pytest.raises(InputError, match=r"launch.defaults.without"):
        refuse_unsafe(with_defaults(without=(option,)), "toy", "/store")


def test_an_element_of_without_names_an_option_of_our_scripts() -> None:
    with pytest.raises(
        InputError, match=r"'--requeu': no such option in our scripts. Did you mean --requeue\? Known here: "
    ):
        refuse_unsafe(with_defaults(without=("--requeu",)), "toy", "/store")


@pytest.mark.parametrize("gpu_option", list(GpuOption))
def test_every_option_of_our_scripts_may_be_left_out_or_is_reserved(gpu_option: GpuOption) -> None:
    launch = with_defaults(
        partition="a", account="a", qos="a", constraint="a", gpu_option=gpu_option, cpus_per_gpu=1, memory_gib_per_gpu=1
    )
    asked = Resources("sft", nodes=2, devices=8, minutes=60)
    sent = SlurmJob("01-a", asked, tuple(Element(((f"a/{n}",),), ()) for n in range(2)))
    names = {each.partition("=")[0] for each in options_of(sent, launch, "a", Path("/code"), Path("/logs"))}
    assert names - {*LEAVABLE_OPTIONS, *RESERVED_OPTIONS} == set()


@pytest.mark.parametrize("option", ["--no-requeue", "--no-req"])
def test_a_site_that_forbids_requeueing_replaces_our_option(option: str) -> None:
    sent = SlurmJob("01-a", Resources("sft"), (Element((("a/a",),), ()),))

    def about_requeueing(launch: Launch) -> list[str]:
        return [each for each in options_of(sent, launch, "a", Path("/code"), Path("/logs")) if "req" in each]

    assert about_requeueing(SLURM) == ["--requeue"]
    assert about_requeueing(with_defaults(sbatch=(option,))) == [option]


@pytest.mark.parametrize("name", ["a\nb", "../up", "a/b", "", 'a"b', "a\\b", "a\x1bb", "a\u2028b"])
def test_an_experiment_is_called_like_a_folder(name: str) -> None:
    with pytest.raises(InputError, match=r"name .*not a plain folder name"):
        refuse_unsafe(SLURM, name, "/store")


@pytest.mark.parametrize("store", ['/a"b', "/a\\b", "/a\nb", "/a\tb", "/a\x1b[2Jb", "/a\udcff"])
def test_a_store_at_a_path_that_no_script_can_hold_is_refused(store: str) -> None:
    with pytest.raises(InputError, match=r"store .*cannot be written into a batch script"):
        refuse_unsafe(SLURM, "toy", store)


def test_a_site_file_is_named_on_one_line() -> None:
    refuse_unsafe(dataclasses.replace(SLURM, site="/home/ada/my site.sh"), "toy", "/store")
    with pytest.raises(InputError, match=r"launch.site"):
        refuse_unsafe(dataclasses.replace(SLURM, site="/site\n.sh"), "toy", "/store")


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(InputError) as raised:
        refuse_unsafe(with_defaults(partition="a b", sbatch=("x",), without=("y",)), "a/b", "/s\n")
    starts = [line.split(" ")[0] for line in str(raised.value).splitlines()]
    assert starts == [*(f"launch.defaults.{each}" for each in ("partition", "sbatch", "without")), "name", "store"]


@pytest.mark.parametrize("word", ["plan=true", "launch.dry_run=true", "yes=true"])
def test_it_is_refused_before_anything_is_written(tmp_path: Path, word: str) -> None:
    places = [f"store={tmp_path / 'store'}", f"results={tmp_path / 'results'}"]
    unsafe = compose(["+experiment=smoke", "launch=slurm", r'launch.partition="main\n#SBATCH --uid=0"', word, *places])
    with pytest.raises(InputError, match=r"launch.defaults.partition 'main\\n#SBATCH --uid=0'"):
        sweep(unsafe, Console(file=io.StringIO()))
    assert list(tmp_path.iterdir()) == []


def test_no_submission_is_written_with_it(tmp_path: Path) -> None:
    graph = toy_queue.graph(make_stage("total", 1), with_defaults(partition="main\n#SBATCH --uid=0"))
    store = Store(tmp_path / "store")
    work, order = plan([graph.artifact], store.is_done), lifecycle.SubmissionRequest("toy", (), Path.cwd(), tmp_path)
    with pytest.raises(InputError, match=r"launch.defaults.partition"):
        lifecycle.write_submission(graph, work, (), store, order)
    assert list(tmp_path.iterdir()) == []


def test_what_was_written_before_is_looked_at_again_when_it_is_resumed(tmp_path: Path) -> None:
    """submission.json of a shared store is not only ours to write."""
    store = Store(tmp_path / "store")
    graph = toy_queue.graph(make_stage("total", 1), SLURM)
    work = plan([graph.artifact], store.is_done)
    order = lifecycle.SubmissionRequest("toy", (), Path.cwd(), tmp_path)
    path = lifecycle.write_submission(graph, work, lifecycle.queue_jobs(graph, work)[:-1], store, order)
    directory = lifecycle.SubmissionDirectory(path)
    written = directory.read()
    directory.write(dataclasses.replace(written, launch=with_defaults(sbatch=("--a=1\n#SBATCH --uid=0",))))
    scripts = sorted((path / "jobs").iterdir())
    with pytest.raises(InputError, match=r"launch.defaults.sbatch"):
        lifecycle.resume_submission(directory, store)
    assert sorted((path / "jobs").iterdir()) == scripts


def test_percent_signs_of_a_path_are_themselves() -> None:
    job = SlurmJob("01-total", Resources(), tuple(Element(((f"total/{n}",),), ()) for n in range(2)))
    options = options_of(job, SLURM, "toy", Path("/100%j/code"), Path("/100%j/logs"))
    assert options[-2:] == ['--chdir="/100%j/code"', '--output="/100%%j/logs/01-total_%a.txt"']


@pytest.mark.parametrize("option", ["--a=1\n--b", "--a=\x1b", "-a", "date"])
def test_the_final_check_covers_the_whole_script(option: str) -> None:
    with pytest.raises(InputError, match=r"is not one option"):
        script_of(f"#!/bin/bash\n{DIRECTIVE}--nodes=1\n", ["--nodes=1", option])


@pytest.mark.parametrize(
    ("variable", "value"), [("SBATCH_CLUSTERS", "other"), ("SLURM_CLUSTERS", "all"), ("SLURM_CLUSTERS", "one,other")]
)
def test_variables_that_choose_other_clusters_are_refused(variable: str, value: str) -> None:
    with pytest.raises(InputError, match=f"{variable} {value}: "):
        refuse_other_clusters({variable: value})
    refuse_other_clusters({"SLURM_CLUSTERS": "one", "SLURM_CONF": "/etc/slurm.conf"})


def test_a_probe_in_a_terminal_requests_what_the_sites_jobs_request() -> None:
    site = dataclasses.replace(
        with_defaults(account="a1", constraint="h100", gpu_option=GpuOption.GPUS_PER_NODE, sbatch=("--reservation=r",)),
        generate=JobSettings(partition="gpu", qos="short", gpu_type="h100", cpus_per_gpu=8, without=("--nodes",)),
    )
    assert srun_line(site, devices=2) == (
        "srun --pty --partition=gpu --account=a1 --qos=short --constraint=h100 --ntasks-per-node=1 --cpus-per-task=16"
        " --gpus-per-node=h100:2 --time=0-01:00:00 --reservation=r"
    )
