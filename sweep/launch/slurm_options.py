"""What may stand in a batch script: no value of a sweep becomes another line or another option of it. Pure.

sbatch takes a line `#SBATCH --partition=main --uid=0` for two options and ends a line at a `#`: a value without quotes
has none of these. A path stands in quotes, and its percent signs doubled where sbatch would replace them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from sweep.contract import Launch
from sweep.errors import InputError

VALUES = ("partition", "account", "qos", "constraint")
OURS = {  # options that the launcher has to set itself, and why
    "--job-name": "a job is found again by its name",
    "--array": "the elements are those of the plan",
    "--dependency": "jobs wait for what makes their inputs",
    "--chdir": "a job runs the code of the submission",
    "--output": "logs are found by their names",
    "--clusters": "squeue would not see jobs of another cluster here; log in there",
    "--wrap": "the script is that of the stage",
    "--wait": "a submission returns at once",
    "--test-only": "nothing would be sent; launch.dry_run=true writes the scripts",
    "--parsable": "the launcher reads the job id",
}
SHORT = {
    "-J": "--job-name",
    "-a": "--array",
    "-d": "--dependency",
    "-D": "--chdir",
    "-o": "--output",
    "-M": "--clusters",
    "-W": "--wait",
}


def refuse_unsafe(launch: Launch, name: str, store: str) -> None:
    """Raises InputError, a line for each value that cannot be written into a batch script as it is."""
    if faults := [*_faults(launch), *_faults_of_names(name, store)]:
        raise InputError("\n".join(faults))


def refuse_unprintable(options: Sequence[str]) -> None:
    """The last look at all options of a script, whatever they came from. Raises InputError."""
    for option in options:
        if not option.isprintable() or not option.startswith("--"):
            raise InputError(f"batch script: {option!r} is not one option on one line. Correct what it came from.")


def quoted(path: str) -> str:
    """A path as the value of an option."""
    return f'"{path}"'


def literal(path: str) -> str:
    """A path in which sbatch replaces nothing, for --output."""
    return path.replace("%", "%%")


def _faults(launch: Launch) -> Iterator[str]:
    for field in VALUES:
        value = getattr(launch, field)
        if value is not None and not _is_plain(value):
            yield (
                f"launch.{field} {value!r}: empty, or with a blank, a quote, a backslash, a # or a control character,"
                " which would end the value in a batch script. Write the name alone."
            )
    if launch.gpu_type is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", launch.gpu_type):
        yield f"launch.gpu_type {launch.gpu_type!r}: not the name of a type. Use letters, digits, dots, dashes."
    for option in launch.sbatch:
        if fault := _fault_of_option(option):
            yield f"launch.sbatch {option!r}: {fault}"
    for option in launch.without:
        if not re.fullmatch(r"--[a-z][a-z-]*", option):
            yield f"launch.without {option!r}: not the name of an option. Write it as --mem, without a value."
        elif option in ("--job-name", "--output", "--chdir", "--array"):
            yield f"launch.without {option!r}: {OURS[option]}. Take it out of the list."
    if launch.site is not None and not launch.site.isprintable():
        yield f"launch.site {launch.site!r}: has a control character. Rename the file."


def _fault_of_option(option: str) -> str | None:
    if not option.isprintable():
        return "has a control character. Write one option on one line."
    if short := SHORT.get(option[:2]):
        return f"{short} is the launcher's to set, as {OURS[short]}. Leave it out."
    if not re.match(r"--[a-z]", option) or option != option.strip():
        return "does not begin with -- and a letter, or has blanks around it. Write it as --reservation=friday."
    name = option.partition("=")[0].split()[0]
    if ours := next((each for each in OURS if each == name or (len(name) > 3 and each.startswith(name))), None):
        return f"{ours} is the launcher's to set, as {OURS[ours]}. Leave it out."
    try:
        words = shlex.split(option)
        is_cut = shlex.split(option, comments=True) != words
    except ValueError:
        return "a quote in it is not closed. Close it."
    if len(words) != 1 or is_cut:
        return "more than one option, or a # outside of quotes. Write each as --name=value, in quotes if it has blanks."
    return None


def _faults_of_names(name: str, store: str) -> Iterator[str]:
    if not name or not name.isprintable() or re.search(r"[/\"\\]", name):
        yield f"name {name!r}: not a plain folder name. Use letters, digits, dots, dashes."
    if not store.isprintable() or '"' in store or "\\" in store:
        yield (
            f"store {store!r}: a double quote, a backslash or a control character cannot be written into a batch"
            " script. Choose another directory: store=DIR."
        )


def _is_plain(value: str) -> bool:
    return bool(value) and value.isprintable() and not re.search(r"[\s\"'\\#]", value)
