"""How large and how fast is a report with every trace? `python benchmarks/page.py [--questions 500] [--points 40]`.

Writes traces of up to 8,000 tokens of text with LaTeX for every question and point (budgets, the natural end and
Waits), runs the stages curve, trace_archive and report on them, opens report.html from file:// in headless Chromium,
and measures. Writes results/benchmarks/page.md. Needs chromium, 2 GB of disk and about 10 minutes.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from s1.config.resources import Cost
from s1.config.schema import Budget, ComputeRequest, EngineConfig, EngineKind, Forcing, Statistics, ThinkingFormat
from s1.generate.engines import Fingerprint
from s1.models.light_tokenizer import light_tokenizer
from s1.models.location import piece_tokenizer
from s1.models.thinking_format import Tokenizer, encode, prompt_text
from s1.records import AnswerEnd, Ending, Outcome, Question, ScoreRow, TraceRow, write_rows
from s1.stages import ArchivedScores, CurveConfig, CurvePoint, ReportConfig, TraceArchiveConfig
from sweep.core.stage import Work

TARGET = Path(__file__).resolve().parents[1] / "results" / "benchmarks" / "page.md"
TEXT = (
    "the of and a to in is that so we then if now but wait check sum both sides let us compute first next term value"
    " number equation therefore because each case since again prime factor root solve set gives equals plus minus times"
    " over square triangle angle point line circle area length modulo remainder digits even odd integer positive real"
)
WORDS = TEXT.split()
FORMULAS = ("$x^2$", "$\\frac{a}{b}$", "$\\sqrt{n+1}$", "$\\binom{n}{k}$", "\\(2^{10}\\)", "$a_1$", "$\\pi r^2$")
FORMAT = ThinkingFormat(
    None, "<|im_start|>think\n", ["<|im_start|>"], "<|im_start|>answer\n", "\n<|im_start|>answer\nFinal Answer:",
    ["<|im_end|>"], False,
)  # fmt: skip
LONGEST, WAIT_TOKENS, WAITS, ANSWER_TOKENS = 8000, 500, 3, 60
LIMITS = """Limits: an archive of up to 1 MiB is part of report.html, which then is one file; of a larger one the page
has the index alone (up to 1 MiB, else none), and loads the texts of a question from traces/ when it is opened. The
stage trace_archive holds the texts of one question at a time. Times in the browser do not depend on how long the traces
are."""
RUNS = 5  # of each measure in the browser; the median counts


@dataclass(frozen=True)
class Point:
    label: str
    request: ComputeRequest


def points_of(count: int) -> list[Point]:
    """Budgets in equal steps, the natural end, and Waits."""
    budgets = count - 1 - WAITS
    most: list[tuple[int | None, int]] = [(LONGEST * (place + 1) // budgets, 0) for place in range(budgets)]
    requests = [*most, *((None, waits) for waits in range(WAITS + 1))]
    return [
        Point(
            f"Wait x{waits}" if waits else "natural end" if limit is None else f"max {limit:,}",
            ComputeRequest(Budget(Forcing.BUDGET, limit, 0, waits, "Wait" if waits else "", None)),
        )
        for limit, waits in requests
    ]


class Writer:
    """Makes the traces of one model, question by question."""

    def __init__(self, model: Path) -> None:
        pieces = tuple(f" {word}" for word in (*WORDS, *FORMULAS, *map(str, range(1000)), "Wait"))
        piece_tokenizer(pieces).save_pretrained(str(model))
        (model / "config.json").write_text("{}", encoding="utf-8")
        tokenizer = light_tokenizer(model)
        assert tokenizer is not None
        self.tokenizer: Tokenizer = tokenizer
        self.words = [tokenizer.encode(piece, add_special_tokens=False) for piece in (*pieces, ".\n", ",")]

    def tokens(self, count: int, chance: random.Random) -> list[int]:
        ids: list[int] = []
        while len(ids) < count:
            ids.extend(self.words[min(int(chance.paretovariate(0.6)) - 1, len(self.words) - 1)])
        return ids[:count]

    def rows(self, place: int, question: Question, points: list[Point]) -> Iterator[tuple[TraceRow, ScoreRow]]:
        """The traces of a question: each point continues the same text."""
        chance = random.Random(place)
        natural = chance.randrange(LONGEST * 3 // 4, LONGEST)
        parts = [self.tokens(natural, chance), *(self.tokens(WAIT_TOKENS, chance) for _ in range(WAITS))]
        prompt = len(encode(prompt_text(FORMAT, question.prompt, self.tokenizer), self.tokenizer))
        for number, point in enumerate(points):
            yield self.row(question, point, parts, prompt, random.Random(1000 * place + number))

    def row(
        self, question: Question, point: Point, parts: list[list[int]], prompt: int, chance: random.Random
    ) -> tuple[TraceRow, ScoreRow]:
        budget = point.request.budget
        limit = budget.max_thinking_tokens
        is_cut = limit is not None and limit < len(parts[0])
        segments = [_segment("thinking", "sampled", parts[0][:limit] if is_cut else parts[0], not is_cut)]
        for part in parts[1 : budget.waits + 1]:
            segments += [_segment("thinking", "forced", self._ids("Wait")), _segment("thinking", "sampled", part, True)]
        thinking = [token for each in segments for token in each["ids"]]
        right = chance.random() < 0.2 + 0.6 * len(thinking) / LONGEST
        answer = self.tokens(ANSWER_TOKENS, chance) + self._ids(f" {question.gold if right else 'none'}")
        marker = FORMAT.forced_end if is_cut else FORMAT.thinking_end
        segments = [
            _segment("delimiter", "forced", self._ids(FORMAT.thinking_start)),
            *segments,
            _segment("delimiter", "forced", self._ids(marker)),
            _segment("answer", "sampled", answer, True),
        ]
        common: dict[str, Any] = {
            "ending": Ending.FORCED if is_cut else Ending.NATURAL,
            "thinking_tokens": len(thinking),
            "answer_tokens": len(answer),
            "answer_end": AnswerEnd.STOP,
            "thinks_on_tokens": 0,
            "waits": budget.waits,
            "sampled_tokens": len(thinking) + len(answer),
        }
        texts = {"thinking": self._text(thinking), "answer": self._text(answer)}
        outcome = Outcome.FORCED if is_cut else Outcome.ANSWERED
        extracted = question.gold if right else "none"
        return (
            TraceRow(question.question_id, 0, prompt, segments, **texts, **common),
            ScoreRow(question.question_id, 0, question.gold, extracted, right, outcome, **common),
        )

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)

    def _text(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=False))


def _segment(part: str, origin: str, ids: list[int], is_ended: bool = False) -> dict[str, Any]:
    return {"part": part, "origin": origin, "ids": ids, "ended_by": [1] if is_ended else None}


def write_store(store: Path, questions: int, points: list[Point]) -> None:
    """Artifacts of the stages before the curve."""
    for name in ("model", "questions", *(f"{role}/{p}" for role in ("traces", "scores") for p in range(len(points)))):
        out_of(store, name).mkdir(parents=True)
    writer = Writer(out_of(store, "model"))
    asked = [
        Question(f"q{place:04}", f"Find $x$ if $x + {place} = {2 * place}$.", f"{place}") for place in range(questions)
    ]
    write_rows(out_of(store, "questions") / "questions.jsonl", asked)
    engine = Fingerprint(EngineConfig(EngineKind.VLLM, "bfloat16", "cuda", 1), {}, {})
    for place in range(len(points)):
        engine.write(out_of(store, f"traces/{place}"))
    traces = [(out_of(store, f"traces/{p}") / "traces.jsonl").open("a", encoding="utf-8") for p in range(len(points))]
    scores: list[list[ScoreRow]] = [[] for _ in points]
    line = out_of(store, "model").parent / "line.jsonl"
    for place, question in enumerate(asked):
        for number, (trace, score) in enumerate(writer.rows(place, question, points)):
            write_rows(line, [trace])
            traces[number].write(line.read_text(encoding="utf-8"))
            scores[number].append(score)
    for number, rows in enumerate(scores):
        traces[number].close()
        write_rows(out_of(store, f"scores/{number}") / "scores.jsonl", rows)


def out_of(store: Path, name: str) -> Path:
    role, _, place = name.partition("/")
    return store / role / f"{int(place or 0):012x}" / "out"


def works(store: Path, points: list[Point]) -> dict[str, Work[Any]]:
    every = range(len(points))
    scored = [CurvePoint(each.label, {"budget": each.label}, each.request) for each in points]
    of_points = {role: tuple(out_of(store, f"{role}/{p}") for p in every) for role in ("scores", "traces")}
    rates = Cost(2.0, 1000.0, 500.0, 8.0, 100, 30, 2, "a price list")
    made = {name: (out_of(store, name),) for name in ("curve", "trace_archive")}
    once = {role: tuple(out_of(store, role) for _ in every) for role in ("questions", "model")}
    archive = TraceArchiveConfig([ArchivedScores("math", [], FORMAT) for _ in every])
    report = ReportConfig(name="page", claim="", command="python benchmarks/page.py")
    return {
        "curve": _work(store, "curve", CurveConfig(scored, Statistics(), rates), of_points),
        "trace_archive": _work(store, "trace_archive", archive, {"curve": made["curve"], **of_points, **once}),
        "report": _work(store, "report", report, {"curve": made["curve"], "archive": made["trace_archive"]}),
    }


def _work(store: Path, name: str, config: Any, inputs: dict[str, tuple[Path, ...]]) -> Work[Any]:
    out = out_of(store, name)
    digests = {role: tuple(f"{place:012x}" for place in range(len(paths))) for role, paths in inputs.items()}
    return Work(out.parent.name, config, inputs, out, out, out, {}, lambda *_: None, digests=digests)


def stage_function(name: str) -> Callable[[Work[Any]], Any]:
    from s1.report.curve import curve
    from s1.report.page import report
    from s1.report.trace_archive.stage import trace_archive

    return {"curve": curve, "trace_archive": trace_archive, "report": report}[name]


def run_stage(store: Path, name: str, points: list[Point]) -> None:
    """Run a stage in this process, and print its CPU seconds and most memory."""
    work = works(store, points)[name]
    work.out.mkdir(parents=True)
    started = time.process_time()
    stage_function(name)(work)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": time.process_time() - started, "mib": peak}))


# ------------------------------------------------------------------------------------------------- in the browser

FILTER = """name => {
  const select = document.querySelector(".traces-filter");
  const started = performance.now();
  select.value = name;
  select.dispatchEvent(new Event("input"));
  document.querySelector(".traces-grid").getBoundingClientRect();
  return performance.now() - started;
}"""
FILTERS = ("flips", "lost", "none", "loops", "all")


def measured(page: Path) -> dict[str, float]:
    """Milliseconds of opening the page until the grid is there, of each filter, and of opening a question."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("google-chrome")
    runs: list[dict[str, float]] = []
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(RUNS):
            tab = browser.new_context().new_page()
            started = time.perf_counter()
            tab.goto(page.resolve().as_uri(), wait_until="commit")
            tab.locator(".traces-row").first.wait_for()
            run = {"open": 1000 * (time.perf_counter() - started)}
            run |= {f"filter {name}": tab.evaluate(FILTER, name) for name in FILTERS}
            started = time.perf_counter()
            tab.locator("#trace-cell-3-3").click()
            tab.locator(".traces-side").nth(1).wait_for()
            runs.append({**run, "question": 1000 * (time.perf_counter() - started)})
            tab.close()
        browser.close()
    return {name: median(run[name] for run in runs) for name in runs[0]}


def mib(*paths: Path) -> float:
    return sum(path.stat().st_size for path in paths) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--points", type=int, default=40)
    parser.add_argument("--store", type=Path, help="reuse the traces in this folder, or write them there")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    given = parser.parse_args()
    points = points_of(given.points)
    if given.stage:
        run_stage(given.store, given.stage, points)
        return
    with tempfile.TemporaryDirectory() as temporary:
        store = given.store or Path(temporary)
        if not out_of(store, "questions").exists():
            write_store(store, given.questions, points)
        costs = {name: _in_process(store, name, given.points) for name in ("curve", "trace_archive", "report")}
        text = summary(store, given.questions, points, costs)
    TARGET.write_text(text, encoding="utf-8")
    print(text)


def _in_process(store: Path, name: str, points: int) -> dict[str, float]:
    shutil.rmtree(out_of(store, name), ignore_errors=True)
    command = [sys.executable, __file__, "--stage", name, "--store", str(store), "--points", str(points)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def summary(store: Path, questions: int, points: list[Point], costs: dict[str, dict[str, float]]) -> str:
    traces = [out_of(store, f"traces/{place}") / "traces.jsonl" for place in range(len(points))]
    files = sorted((out_of(store, "report") / "traces").iterdir())
    page = out_of(store, "report") / "report.html"
    times = measured(page)
    last = out_of(store, f"traces/{len(points) - 1}") / "traces.jsonl"
    rows = [
        ("traces.jsonl of all points", f"{mib(*traces):,.0f} MiB"),
        ("traces.jsonl of the longest point", f"{mib(last):,.0f} MiB"),
        (f"traces/, {len(files)} files", f"{mib(*files):,.1f} MiB"),
        ("of these, index.js", f"{mib(files[-1]):,.2f} MiB"),
        ("report.html", f"{mib(page):,.2f} MiB"),
        *(
            (f"stage {name}", f"{each['seconds']:,.0f} s of CPU, {each['mib']:,.0f} MiB")
            for name, each in costs.items()
        ),
        ("opening until the grid can be used", f"{times['open']:,.0f} ms"),
        *((f"filter: {name}", f"{times[f'filter {name}']:,.0f} ms") for name in FILTERS),
        ("opening a question, two traces typeset", f"{times['question']:,.0f} ms"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    intro = f"{questions:,} questions x {len(points)} points, thinking of up to {LONGEST:,} tokens and {WAITS} Waits"
    return (
        f"# The report page with every trace\n\n`python benchmarks/page.py`\n\n{intro}.\nTimes in headless Chromium"
        f" from file://, the median of {RUNS} runs; a filter is timed with the layout that follows it.\n\n"
        f"| measure | value |\n|---|---:|\n{table}\n\n{LIMITS}\n"
    )


if __name__ == "__main__":
    main()
