"""The table of commands: name, help, words, options, exit status and function of each."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from sweep.core.pipeline import check_name
from sweep.core.spending import EXIT_LIMIT
from sweep.errors import InputError

HYDRA_FLAGS = (  # flags that Hydra answers, with `run` and `plan`
    *("--hydra-help", "-c", "--cfg", "-i", "--info", "-p", "--package", "--resolve"),
    *("-sc", "--shell-completion"),
)


class Group(Enum):
    """The headings of `sweep --help`, in its order."""

    EXPERIMENTS = "Run an experiment"
    SUBMISSIONS = "Follow a submission on SLURM"
    STORE = "Look after store and results"
    MANUAL = "Run single steps"
    SHELL = "Set up the shell"


@dataclass(frozen=True)
class Word:
    """A positional argument."""

    name: str  # of the function parameter
    metavar: str
    help: str
    is_required: bool = False
    choices: tuple[str, ...] = ()  # (): anything
    is_list: bool = False  # takes all further words, as a list; only the last word can


@dataclass(frozen=True)
class Option:
    """A switch, or with a metavar an option that takes a value."""

    flag: str
    help: str
    metavar: str | None = None
    read: Callable[[str], object] = str
    default: object = None
    field: str | None = None  # the configuration field it sets, instead of a function parameter
    old_names: tuple[str, ...] = ()  # former spellings NAME=VALUE, whose error names the option
    within: str | None = None  # the function parameter that takes this and other options, by name

    @property
    def name(self) -> str:
        """The function parameter."""
        return self.flag.lstrip("-").replace("-", "_")


@dataclass(frozen=True)
class Command:
    """One entry of the table."""

    name: str  # one word or two
    group: Group
    summary: str
    function: str  # package.module:name; imported when the command is given
    description: str
    example: str
    words: tuple[Word, ...] = ()
    options: tuple[Option, ...] = ()
    is_composed: bool = False  # takes overrides of an experiment and -m; others take only store= and results=
    has_fields: bool = True
    asks_hydra: bool = False  # Hydra answers its own flags
    failure: str = "failed; stderr says why"  # what exit status 1 means
    further_statuses: tuple[tuple[int, str], ...] = ()  # exit statuses of this command alone, and what they mean


def positive(text: str) -> int:
    """A whole number of 1 or more. Raises argparse.ArgumentTypeError."""
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def seconds(text: str) -> float:
    """A time of at least a tenth of a second. Raises argparse.ArgumentTypeError."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0.1 <= found <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.1 to 3600")
    return found


def natural(text: str) -> int:
    """A whole number of 0 or more. Raises argparse.ArgumentTypeError."""
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


# Fields of commands that do not compose points; `pipeline` names the module that checks shared data.
PLACES = ("store", "results", "pipeline", "yes")


def folder(text: str) -> str:
    """The name of a folder. Raises argparse.ArgumentTypeError for an empty one."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the name of the folder is empty")
    return text


def result_name(text: str) -> str:
    """The name of a result. Raises argparse.ArgumentTypeError for one that cannot be a folder."""
    try:
        check_name(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from None
    return text


COMMON = (
    Option("--store", "the store; same as the field `store`", "DIR", read=folder, field="store"),
    Option("--results", "the folder of results; same as the field `results`", "DIR", read=folder, field="results"),
)
DEBUG = Option("--debug", "print the traceback of an error (or set SWEEP_DEBUG=1)")
SUBMISSION = Word("submission", "ID", "a folder name in store/submissions; default: your newest submission")
RESULTS = Word("results", "RESULT", "NAME, NAME/KEY or the path of a result; two or more", True, is_list=True)
EVERY = Option(
    "--every", "seconds between two looks; default: 10 for SLURM, 2 for a run on this machine", "SECONDS", seconds
)
YES = Option("--yes", "do not ask about the cost; see the field `yes`", field="yes")
YES_FOREIGN = Option("--yes", "also for another user's submission", field="yes")

LIMITED = (EXIT_LIMIT, "stopped by cost.limit_usd or cost.limit_device_hours")

COMMANDS = (
    Command(
        "run",
        Group.EXPERIMENTS,
        "run the missing stages of an experiment (default command)",
        "sweep.cli.run:run",
        "Compose the points of an experiment, print the plan and its price, run the\n"
        "stages that are not in the store yet, and publish the result. With\n"
        "launch=slurm, submit them and return.",
        "sweep run +experiment=budget_scan budget.waits=0,1,2 -m",
        options=(YES,),
        is_composed=True,
        asks_hydra=True,
        failure="a stage failed, or the command was refused; stderr says why",
        further_statuses=(LIMITED,),
    ),
    Command(
        "plan",
        Group.EXPERIMENTS,
        "print what `run` would do and cost, and stop (plan=true)",
        "sweep.cli.run:show_only",
        "Print the stages that the same `run` command would run, why, and their tokens,\n"
        "time and dollars. Runs and downloads nothing, except with --probe: it answers\n"
        "some questions of each task at the largest point, and plans from what they took.",
        "sweep plan --probe 20 +experiment=budget_scan -m",
        options=(
            Option("--probe", "first answer N questions per model and task, on this machine", "N", read=positive),
            Option("--probe-seed", "seed of the choice of these questions", "SEED", read=natural, default=0),
            YES,
        ),
        is_composed=True,
        asks_hydra=True,
        further_statuses=(LIMITED,),
    ),
    Command(
        "preflight",
        Group.EXPERIMENTS,
        "check the nodes that a `run` command would use, in a short job",
        "sweep.cli.preflight:preflight",
        "Check every kind of node of the same `run` command: devices, all-reduce, the engine\n"
        "with its model, the store, the hub's cache, clocks, disk. Runs here, or with\n"
        "launch=slurm as a job for each kind of node, with its resources.",
        "sweep preflight model=qwen3_8b machine=h100 launch=slurm --wait",
        options=(Option("--wait", "with launch=slurm: wait for the jobs, and print what they found"),),
        is_composed=True,
        failure="a check failed (with launch=slurm: and --wait), or the command was refused; stderr says why",
    ),
    Command(
        "watch",
        Group.EXPERIMENTS,
        "follow a run, here or on SLURM: failures, rates, time left",
        "sweep.cli.watch:watch",
        "Follow a submission, the run of a command, or whatever is being made in the store\n"
        "now, until nothing runs any more. Shows failures first, then running stages with\n"
        "their rate and the time left. In a pipe, prints a line for every change.",
        "sweep watch +experiment=budget_scan -m",
        words=(
            Word("submission", "ID", "a folder name in store/submissions, or an experiment: its newest submission"),
        ),
        options=(EVERY,),
        is_composed=True,
        failure="a stage failed, or nothing runs and stages are missing",
    ),
    Command(
        "status",
        Group.SUBMISSIONS,
        "show what failed and why, what runs, and what waits until when",
        "sweep.cli.slurm:status",
        "Show the state of a submission, from the store and SLURM: job and state of each\n"
        "element, failures first, with what to do about them. In a pipe, one line for each\n"
        "row. The exit status says whether it is done.",
        "sweep status --json",
        words=(SUBMISSION,),
        options=(
            Option("--json", "print JSON"),
            Option(
                "--watch",
                "follow it as `sweep watch ID` does, and end with the status of `status`",
                old_names=("watch",),
            ),
            replace(EVERY, help=f"with --watch: {EVERY.help}"),
        ),
        failure="unknown: SLURM does not answer, or the submission cannot be read",
        further_statuses=(
            (3, "something runs, waits or is in a later wave, and nothing failed"),
            (4, "something failed, was cancelled or lost, or was not submitted"),
        ),
    ),
    Command(
        "logs",
        Group.SUBMISSIONS,
        "print the end of the logs of a submission or of one stage",
        "sweep.cli.slurm:logs",
        "Print the last lines of each log.",
        "sweep logs checkpoint --lines 50",
        words=(SUBMISSION, Word("stage", "STAGE", "a stage, by name or address: checkpoint, traces/9f3c1ab2d4e5")),
        options=(Option("--lines", "lines of each log", "N", positive, 20, old_names=("lines",)),),
    ),
    Command(
        "resume",
        Group.SUBMISSIONS,
        "submit what failed or is missing",
        "sweep.cli.slurm:resume",
        "Submit the stages that failed or are missing, with the code and the launch\n"
        "settings of the submission. Of a dry run (launch.dry_run=true), submit everything.",
        "sweep resume",
        words=(SUBMISSION,),
        options=(Option("--yes", "do not ask about the cost; also for another user's submission", field="yes"),),
    ),
    Command(
        "cancel",
        Group.SUBMISSIONS,
        "cancel all jobs of a submission; finished stages are kept",
        "sweep.cli.slurm:cancel",
        "Cancel the jobs of a submission. If several of yours are open, name one.",
        "sweep cancel 20261126-101500-budget_scan",
        words=(SUBMISSION,),
        options=(YES_FOREIGN,),
    ),
    Command(
        "store",
        Group.STORE,
        "list the contents of the store and which results use them",
        "sweep.cli.store:show",
        "List the stages in the store by name, data that stages share, W&B runs and\n"
        "results. Further commands: store check, store prune, store release.",
        "sweep store --store /scratch/me/store",
    ),
    Command(
        "store check",
        Group.STORE,
        "compare every file of the store with its checksum",
        "sweep.cli.store:check_store",
        "Read every byte of the store and report what is damaged or missing. Repairing is\n"
        "refused while a sweep is using the store, and leaves running stages alone.",
        "sweep store check --repair",
        options=(
            Option(
                "--repair",
                "set damaged artifacts aside, to be made again, and repair shared data",
                old_names=("repair", "mend"),
            ),
        ),
        failure="damage is left, or the store could not be read",
    ),
    Command(
        "store prune",
        Group.STORE,
        "remove the stages that no result uses",
        "sweep.cli.store:prune_store",
        "List the stages that no result uses. With --yes, remove them. Stages used by results\n"
        "elsewhere are kept until `sweep store release`.",
        "sweep store prune --yes",
        options=(
            Option("--yes", "remove the listed stages", field="yes"),
            Option(
                "--unfinished", "include unfinished and failed stages that are in no queue", old_names=("unfinished",)
            ),
        ),
    ),
    Command(
        "store release",
        Group.STORE,
        "stop keeping the stages of a result",
        "sweep.cli.store:release_result",
        "Drop the store's claim on a result. The result and the stages stay where they\n"
        "are, but `sweep store prune` may then remove the stages.",
        "sweep store release budget_scan/41687fbbc3b5",
        words=(Word("result", "RESULT", "its path, its NAME/KEY, or the id that `sweep results` shows", True),),
        options=(Option("--yes", "also for a result that another user published", field="yes"),),
    ),
    Command(
        "results",
        Group.STORE,
        "list all results, and which were changed or moved",
        "sweep.cli.results:list_results",
        "List the results published from this store, wherever they are, and those in the\n"
        "folder of results: name/key@digest, points, date, size, cost, path, changes.",
        "sweep results",
        failure="a result's manifest is damaged, or the store could not be read",
    ),
    Command(
        "report",
        Group.STORE,
        "write a report on a result: Markdown, or a Report on W&B",
        "sweep.cli.report:report",
        "Print a report on a result as Markdown: claim and verdict, curve, differences,\n"
        "samples, audit, training, cost planned and spent, lineage, how to reproduce it.\n"
        "With --wandb, create or update it as a Report beside the runs, with a workspace.",
        "sweep report budget_scan --wandb",
        words=(Word("result", "RESULT", "NAME, NAME/KEY or the path of a result", True),),
        options=(
            Option("--wandb", "create or update the Report and the workspace on W&B"),
            Option("--to", "write the Markdown to this file instead", "FILE"),
            Option("--project", "where the runs are on W&B; default: where they were sent", "ENTITY/PROJECT"),
        ),
        failure="there is no such result, or W&B cannot be used; stderr says why",
    ),
    Command(
        "show",
        Group.STORE,
        "print the points of a result, or two traces side by side",
        "sweep.cli.show:show",
        "Print points, audit and verdict of a result. With --question, print the question\n"
        "and what two points wrote, side by side on a terminal of 100 columns or more: cuts\n"
        "as [cut], appended texts as [+Wait], the common beginning folded. Needs only the\n"
        "folder of the result.",
        "sweep show budget_scan --question flips --points 'max 16,natural end'",
        words=(Word("result", "RESULT", "NAME, NAME/KEY or the path of a result", True),),
        options=(
            Option(
                "--question",
                "an id, a row such as '#12', or flips: those that two points answer differently",
                "ID",
                within="asked",
            ),
            Option(
                "--points",
                "points by label; default: the reference and the point furthest from it",
                "A,B",
                within="asked",
            ),
            Option("--seed", "of several seeds", "N", natural, within="asked"),
            Option("--sample", "of several samples, from 0", "N", natural, within="asked"),
            Option("--json", "print JSON"),
        ),
    ),
    Command(
        "merge",
        Group.STORE,
        "put finished results on one figure and in one table",
        "sweep.cli.merge:merge",
        "Publish one result over the points of several, to results/NAME/KEY. Scores are used\n"
        "as they are; points that results share count once, and are paired with others by\n"
        "question. Refused if statistics or prices differ, unless --like chooses.",
        "sweep merge budget_scan budget_scan_long --name whole_curve",
        words=(RESULTS,),
        options=(
            Option("--name", "name of the merged result", "NAME", result_name, "merged"),
            Option("--like", "take statistics, prices and comparison from this result", "RESULT"),
            Option("--apart", "keep the points of each result in series of their own"),
        ),
        failure="a result cannot be merged, or the report failed; stderr says why",
    ),
    Command(
        "pin",
        Group.MANUAL,
        "look up the commits of models and datasets; write pins.lock",
        "sweep.cli.manual:pin",
        "Look up the commit of every model and dataset that is named without one, and write\n"
        "pins.lock. Needs a network.",
        "sweep pin +experiment=curate data=limo",
        options=(Option("--refresh", "look up names again that are already in pins.lock", old_names=("refresh",)),),
        is_composed=True,
    ),
    Command(
        "prefetch",
        Group.MANUAL,
        "download models and datasets for nodes without internet",
        "sweep.cli.manual:prefetch",
        "Download what the missing stages of a `run` command read. Needs a network.",
        "sweep prefetch +experiment=budget_scan model=qwen3_8b -m",
        is_composed=True,
    ),
    Command(
        "prepare",
        Group.MANUAL,
        "run the CPU inputs of a batch script, and list its stages",
        "sweep.cli.manual:prepare",
        "The first step of slurm/*.sbatch when you submit them yourself: run the inputs\n"
        "that need no GPU, and write the stages for this script to FILE, one process\n"
        "per line.",
        "sweep prepare sft stages.txt +experiment=budget_scan -m",
        words=(
            Word("script", "SCRIPT", "sft, generate or cpu", True, ("sft", "generate", "cpu")),
            Word("file", "FILE", "the file to write", True),
        ),
        options=(YES,),
        is_composed=True,
        failure="a stage failed, or another script has to run first; stderr says why",
    ),
    Command(
        "publish",
        Group.MANUAL,
        "publish a result whose stages are all finished",
        "sweep.cli.manual:publish_again",
        "Publish the result of a `run` command, or of a submission, to results/NAME/KEY.\nNever runs stages.",
        "sweep publish +experiment=budget_scan -m --to paper/figures",
        words=(Word("submission", "SUBMISSION", "the path of a submission, instead of FIELD=VALUE"),),
        options=(
            Option(
                "--to",
                "copy it to this folder too, which must be empty or hold an earlier copy",
                "DIR",
                folder,
                old_names=("to",),
            ),
        ),
        is_composed=True,
        failure="a stage is missing, or the command was refused; stderr says why",
    ),
    Command(
        "sync",
        Group.MANUAL,
        "mirror finished stages on W&B, or follow a run there (--watch)",
        "sweep.cli.sync:sync",
        "Mirror the finished stages of a `run` command, or of a submission, on W&B,\nwhatever else is missing."
        " With --watch, also follow the stages in progress until\nall are done. `sweep run` starts this itself;"
        " use it on the login node of a\ncluster whose compute nodes have no internet.",
        "sweep sync 20261126-101500-budget_scan --watch",
        words=(Word("submission", "SUBMISSION", "a submission, by ID or path, instead of FIELD=VALUE"),),
        options=(
            Option("--watch", "follow the stages in progress until all are done"),
            Option("--attached", "with --watch: end when standard input is closed"),
            Option("--every", "seconds between two looks at the store", "S", seconds, 10.0),
        ),
        is_composed=True,
        failure="nothing is mirrored (track=off), or the command was refused",
    ),
    Command(
        "completion",
        Group.SHELL,
        "print the script that completes commands and fields with Tab",
        "sweep.cli.completion:show_script",
        "Print a script for your shell. Tab then completes commands, options, submissions,\n"
        "stages, and the configuration's groups and fields.",
        'eval "$(sweep completion bash)"',
        words=(Word("shell", "SHELL", "bash, zsh or fish", True),),
        has_fields=False,
    ),
)
