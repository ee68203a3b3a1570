"""One case from its fault to its verdict: the commands, their messages, and the final state.

survived     the same command again gives every byte of an undisturbed run
once more    the same, but the first run after the fault ended with a message, as it may, and the second succeeded
silent       published bytes, or what vouches for them, are other than they were, and not a line says so
broken       anything else: other bytes, a traceback, a command that hangs, a user's file lost, damage unreported
skipped      this machine does not allow the fault to be made, and the reason says what is missing
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import unified_diff
from enum import Enum

from tests.faults.cases import Case
from tests.faults.faults import Fault
from tests.faults.processes import Bench, Done
from tests.faults.state import State, core, lost_users_files

TRACEBACK = "Traceback (most recent call last)"
REDO = re.compile(r"redo=([a-z_,]+)")


class Verdict(Enum):
    SURVIVED = "survived"
    ONCE_MORE = "once more"
    SILENT = "silent"
    BROKEN = "broken"
    SKIPPED = "skipped"


class Skipped(Exception):
    """This machine does not allow the fault to be made."""


@dataclass(frozen=True)
class Outcome:
    case: Case
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    repeated: int = 0  # calls of stage functions for what had been made before
    seconds: float = 0.0
    output: str = ""

    @property
    def is_good(self) -> bool:
        return self.verdict not in (Verdict.SILENT, Verdict.BROKEN)


@dataclass
class Trial:
    """What happens in one case, noted as it goes."""

    case: Case
    bench: Bench
    reference: State
    wrong: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    outputs: list[tuple[str, Done]] = field(default_factory=list)
    before: State | None = None  # as the fault found it
    damaged: tuple[str, ...] = ()  # words of which one has to be said: the address, the file
    hit: str | None = None  # the stage that may be made again because of the fault
    reruns: int = 0
    outcome: Outcome | None = None
    started: float = field(default_factory=time.monotonic)

    # ------------------------------------------------------------------------------------------------- commands

    def note(self, words: Sequence[str], done: Done) -> Done:
        """Every command must end, and never with a traceback."""
        command = " ".join(words)
        self.outputs.append((command, done))
        if done.hung:
            self.wrong.append(f"`{command}` hung")
        if TRACEBACK in done.output:
            last = [line for line in done.output.splitlines() if line.strip()][-1]
            self.wrong.append(f"`{command}` ended with a traceback: {last}")
        if 0 < done.status < 128 and not done.output.strip():
            self.wrong.append(f"`{command}` ended with status {done.status} and said nothing")
        return done

    def run(self, words: Sequence[str], fault: Fault | None = None) -> Done:
        """A command, at once; it makes nothing again that is whole, unless it is asked to."""
        before, calls = self.bench.state(), len(self.bench.calls())
        done = self.note(words, self.bench.run(words, fault))
        if not any("redo=" in word for word in words):
            self.wrong += [f"{each} was whole and is made again" for each in self._needless(before, calls)]
        return done

    def _needless(self, before: State, calls: int) -> list[str]:
        """Of the stages made since, those that were finished and whole, and rest on nothing that was made since."""
        made = set(self.bench.calls()[calls:])
        resting = {each for address in made for each in before.resting_on(address)}
        whole = {each for each in before.products if before.products[each] == self.reference.products.get(each)}
        return sorted(
            (made & whole) - resting - {self.hit} - {each for each, record in before.records.items() if not record}
        )

    def begin(self) -> None:
        """The store is as the fault finds it; what is called from here on is counted."""
        self.before = self.bench.state()
        self.bench.calls_file.unlink(missing_ok=True)

    def recover(self, words: Sequence[str], most: int = 2) -> None:
        """The same command again, until it succeeds; what it asks for by redo= is granted."""
        for attempt in range(most):
            self.reruns = attempt + 1
            done = self.run(words)
            if done.status == 0:
                return
            asked = REDO.search(done.output)
            if asked and not any(word.startswith("redo=") for word in words):
                words = [*words, f"redo={asked[1].strip(',')}"]
        self.wrong.append(f"still status {done.status} after {most} runs: {_last_line(done.output)}")

    # ------------------------------------------------------------------------------------------------- verdict

    def said(self) -> bool:
        """Whether anything that was damaged is named in what was printed."""
        text = "\n".join(done.output for _, done in self.outputs)
        return any(word in text for word in self.damaged)

    def judge(self) -> Outcome:
        """Once; a scenario whose home is about to vanish asks for it itself."""
        if self.outcome is None:
            self.outcome = self._judge()
        return self.outcome

    def _judge(self) -> Outcome:
        now = self.bench.state()
        self._judge_result(now)
        self._judge_store(now)
        self.wrong += [f"the user's file {name} is gone or changed" for name in lost_users_files(self.bench.home)]
        if self.damaged and not self.said():
            self.wrong.append(f"nothing was said of {self.damaged[0]}")
        verdict = Verdict.ONCE_MORE if self.reruns > 1 else Verdict.SURVIVED
        if self.wrong:
            verdict = Verdict.BROKEN
        if self.silent:
            verdict = Verdict.SILENT
        output = "\n".join(f"$ {command}\n{done.output}[{done.status}]" for command, done in self.outputs)
        seconds = time.monotonic() - self.started
        return Outcome(self.case, verdict, (*self.silent, *self.wrong), self._repeated(), round(seconds, 2), output)

    def _judge_result(self, now: State) -> None:
        """The table and every file beside it."""
        names = {**self.reference.result, **now.result}
        differing = [name for name in names if now.result.get(name) != self.reference.result.get(name)]
        if differing:
            self._other_bytes("results", differing)
            if "manifest.json" in differing:
                self.outputs.append(("(manifest)", Done(0, _difference(now.result, self.reference.result))))

    def _judge_store(self, now: State) -> None:
        """Finished stages have the bytes of an undisturbed run, by a record that says so; or `store check` finds it."""
        differing = {}
        for address, product in now.products.items():
            if product != self.reference.products.get(address):
                differing[address] = f"{address}: its product differs"
            elif fields := self._other_fields(address, now):
                differing[address] = f"{address}: its record differs ({fields})"
        if not differing:
            return
        read = {each for each in differing if any(reader in self.bench.calls() for reader in now.resting_on(each))}
        for address in read:
            self._other_bytes(f"{differing[address]}, and was read", [])
        checked = self.run(["store", "check"])
        for address, what in differing.items():
            if address not in checked.output or checked.status == 0:
                self.silent.append(f"{what}, and `store check` does not find it")

    def _other_fields(self, address: str, now: State) -> str:
        """Of a record; what was not made again keeps its record to the letter."""
        record = now.records[address]
        before = self.before.records.get(address) if self.before else None
        if address in self.bench.calls() or before is None:
            leave_out = self.bench.leave_out
            record, before = core(record, leave_out), core(self.reference.records.get(address), leave_out)
        if record is None or before is None:
            return "" if record is before else "cannot be read"
        return ", ".join(sorted(name for name in {**before, **record} if before.get(name) != record.get(name)))

    def _other_bytes(self, what: str, names: Sequence[str]) -> None:
        text = f"{what}: other bytes than an undisturbed run{' in ' + ', '.join(names) if names else ''}"
        last = self.outputs[-1][1] if self.outputs else None
        is_silent = last is not None and last.status == 0 and not self.said()
        (self.silent if is_silent else self.wrong).append(text)

    def _repeated(self) -> int:
        """Calls of stage functions for what had been made before, unless that was asked for."""
        calls = self.bench.calls()
        asked = any("redo=" in command for command, _ in self.outputs)
        before = set(self.before.products) if self.before and not asked else set()
        return len(calls) - len(set(calls) - before)


def _difference(now: Mapping[str, str], reference: Mapping[str, str]) -> str:
    """Of two manifests, for whoever looks into it."""
    texts = [json.dumps(json.loads(each.get("manifest.json", "{}")), indent=1) for each in (reference, now)]
    before, after = (text.splitlines() for text in texts)
    return "\n".join(unified_diff(before, after, "undisturbed", "now", n=1, lineterm="")) + "\n"


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("error", "failed", "damaged"))]
    return (errors or lines or ["(nothing)"])[-1]


def outcome_of(error: Exception, case: Case, started: float) -> Outcome:
    """Of a case that could not be carried out."""
    verdict = Verdict.SKIPPED if isinstance(error, Skipped) else Verdict.BROKEN
    text = str(error) if isinstance(error, Skipped) else f"the suite failed: {type(error).__name__}: {error}"
    return Outcome(case, verdict, (text,), seconds=round(time.monotonic() - started, 2))
