"""A pipeline without language models, with one instance of everything that a fault can hit.

    numbers    UPSTREAM, a sub-folder in its product
    weights    EXPENSIVE, made in steps, each kept in scratch/ so that an attempt goes on from the last
    answers    EXPENSIVE, one batch in one process; appends what it makes to a file that the batch shares
    squares    EXPENSIVE, made in two shards side by side
    scores     FINAL, one per point
    report     FINAL, the result: a table and a folder of figures
    choir      EXPENSIVE, made by two processes together, where `together` asks for it

The same inputs give the same bytes, always. Every call of a stage function adds a line to the file that CALLS names,
outside the store: what is done twice is counted there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sweep.core.pipeline import Graph, SharedReport, SweepRequest, Workers
from sweep.core.stage import CodePolicy, Finished, Resources, Stage, Summary, Work

HERE = "tests.faults.pipeline"
CALLS = "S1_FAULTS_CALLS"
STRIKE = "S1_FAULTS_STRIKE"
STEPS = 3
BATCH = "lines"
DEAR = {"usd_per_hour": 1e9}  # whatever it takes, it costs more than anyone would spend unasked


@dataclass(frozen=True)
class Point:
    name: str
    number: int
    dear: bool = False
    mirror: str = "works"  # or the exception that it raises
    together: bool = False

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError(f"number {self.number}: negative. Use 0 or more.")


@dataclass(frozen=True)
class Number:
    number: int


@dataclass(frozen=True)
class Squares:
    below: int
    index: int = 0
    count: int = 1


@dataclass(frozen=True)
class Nothing:
    of: str = ""


# ------------------------------------------------------------------------------------------------------- the graph


def numbers_of(x: Point) -> Stage:
    return Stage("numbers", 1, Number(x.number), f"{HERE}:numbers", code=CodePolicy.UPSTREAM)


def weights_of(x: Point) -> Stage:
    settings = DEAR if x.dear else {}
    return Stage("weights", 1, Nothing(), f"{HERE}:weights", settings=settings, code=CodePolicy.EXPENSIVE)


def answers_of(x: Point) -> Stage:
    return Stage(
        "answers",
        1,
        Number(x.number),
        f"{HERE}:answers",
        {"numbers": (numbers_of(x),), "weights": (weights_of(x),)},
        batch=BATCH,
        label=f"number {x.number}",
        code=CodePolicy.EXPENSIVE,
    )


def squares_stage() -> Stage:
    whole = Stage("squares", 1, Squares(6), f"{HERE}:join", code=CodePolicy.EXPENSIVE)
    shards = (
        replace(whole, name="squares_shard", config=Squares(6, index, 2), run=f"{HERE}:squares") for index in range(2)
    )
    return replace(whole, shards=tuple(shards))


def choir_stage() -> Stage:
    return Stage("choir", 1, Nothing(), f"{HERE}:choir", resources=Resources(processes=2), code=CodePolicy.EXPENSIVE)


def scores_of(x: Point) -> Stage:
    inputs = {"answers": (answers_of(x),), "squares": (squares_stage(),)}
    inputs |= {"choir": (choir_stage(),)} if x.together else {}
    return Stage("scores", 1, Number(x.number), f"{HERE}:scores", inputs, code=CodePolicy.FINAL)


def graph(points: Sequence[Point], request: SweepRequest) -> Graph:
    scores = tuple(map(scores_of, points))
    report = Stage("report", 1, Nothing(points[0].name), f"{HERE}:report", {"scores": scores}, code=CodePolicy.FINAL)
    return Graph(
        name=points[0].name,
        artifact=report,
        table=lambda directory: [{"score": each} for each in (directory / "table.csv").read_text().splitlines()[1:]],
        workers=Workers(2, 1),
        estimates={},
        on_finished=lambda stage, path: mirror(points[0].mirror),
        points=len(points),
        remarks=lambda summaries: [f"{len(summaries)} stages"],
    )


def mirror(how: str) -> None:
    """A tracker that works, or raises what it was asked to."""
    errors = {"TypeError": TypeError, "OSError": OSError, "TimeoutError": TimeoutError, "StoreError": RuntimeError}
    if how != "works":
        raise errors[how]("the tracker is out of order")


# ------------------------------------------------------------------------------------------------- stage functions


def numbers(work: Work[Number]) -> Summary:
    _called(work)
    (work.out / "numbers.json").write_text(json.dumps([work.config.number] * 4), encoding="utf-8")
    (work.out / "notes").mkdir()
    (work.out / "notes" / "about.txt").write_text("four times the same\n", encoding="utf-8")
    return {"number": work.config.number}


def weights(work: Work[Nothing]) -> Summary:
    """Each step rests on the one before; a step whose checksum is wrong was torn, and is made again."""
    _called(work)
    value = 1.0
    for step in range(STEPS):
        kept = work.scratch / f"step-{step}.txt"
        text = kept.read_text(encoding="utf-8", errors="replace") if kept.is_file() else ""
        if not is_whole(text):
            text = with_checksum(repr(value / 3 + step))
            aside = kept.with_suffix(".aside")
            for in_the_way in (path for path in (kept, aside) if path.is_dir()):
                shutil.rmtree(in_the_way)
            aside.write_text(text, encoding="utf-8")
            aside.replace(kept)
        value = float(text.split()[0])
        work.report(step + 1, STEPS, "steps")
    (work.out / "weights.bin").write_bytes(repr(value).encode() * 64)
    return {"value": value}


def answers(works: Sequence[Work[Number]]) -> Iterator[Finished]:
    """Reads from the shared file what an earlier attempt left there; a damaged line is made again."""
    for done, work in enumerate(works):
        _called(work)
        work.report(done, len(works), "answers")
        lines, known = work.shared / "lines.txt", {}
        if lines.is_dir():
            shutil.rmtree(lines)
        if lines.is_file():
            texts = lines.read_text(encoding="utf-8", errors="replace").splitlines()
            known = {text.split()[0]: text.split()[0] for text in texts if is_whole(text)}
        numbers_read = json.loads((work.one("numbers") / "numbers.json").read_text(encoding="utf-8"))
        scale = (work.one("weights") / "weights.bin").read_bytes()[:6].decode()
        made = []
        for at, number in enumerate(numbers_read):
            answer = f"{number}-{at}-{scale}"
            if answer not in known:
                with lines.open("a", encoding="utf-8") as file:
                    file.write("\n" * _is_torn(lines) + with_checksum(answer) + "\n")
            made.append(answer)
        (work.out / "answers.jsonl").write_text("".join(json.dumps(each) + "\n" for each in made), encoding="utf-8")
        yield Finished(work.key, {"answers": len(made)})


def squares(work: Work[Squares]) -> Summary:
    _called(work)
    made = [number * number for number in range(work.config.index, work.config.below, work.config.count)]
    (work.out / "squares.json").write_text(json.dumps(made), encoding="utf-8")
    return {"made": len(made)}


def join(work: Work[Squares]) -> Summary:
    _called(work)
    made = sorted(
        each for shard in work.shards for each in json.loads((shard.out / "squares.json").read_text(encoding="utf-8"))
    )
    (work.out / "squares.json").write_text(json.dumps(made), encoding="utf-8")
    return {"made": len(made)}


def scores(work: Work[Number]) -> Summary:
    _called(work)
    text = (work.one("answers") / "answers.jsonl").read_text(encoding="utf-8")
    squares_read = json.loads((work.one("squares") / "squares.json").read_text(encoding="utf-8"))
    score = int(hashlib.sha256(text.encode()).hexdigest()[:6], 16) + sum(squares_read)
    (work.out / "scores.json").write_text(json.dumps({"score": score}), encoding="utf-8")
    return {"score": score}


def report(work: Work[Nothing]) -> Summary:
    _called(work)
    found = [json.loads((path / "scores.json").read_text(encoding="utf-8"))["score"] for path in work.inputs["scores"]]
    (work.out / "table.csv").write_text("score\n" + "".join(f"{each}\n" for each in found), encoding="utf-8")
    (work.out / "figures").mkdir()
    for number, each in enumerate(found):
        (work.out / "figures" / f"{number}.svg").write_text(f"<svg>{each}</svg>\n", encoding="utf-8")
    return {"points": len(found)}


def choir(work: Work[Nothing]) -> Summary:
    """Every member waits until all have written their part."""
    rank, start = os.environ["RANK"], os.environ["MASTER_PORT"]
    (work.scratch / f"here-{rank}-{start}").touch()
    strike(rank)
    while not all((work.scratch / f"here-{each}-{start}").exists() for each in ("0", "1")):
        time.sleep(0.01)
    (work.out / "voices.txt").write_text("la la\n", encoding="utf-8")
    if rank == "0":
        _called(work)
    return {"voices": 2}


def strike(rank: str) -> None:
    """Send a signal once, to whom it is meant: `1 SIGKILL`, `leader SIGTERM`."""
    who, _, name = os.environ.get(STRIKE, "").partition(" ")
    mark = Path(os.environ[CALLS]).with_name("struck")
    if who not in (rank, "leader", "torchrun") or mark.exists() or (who != rank and rank != "0"):
        return
    mark.touch()
    leader = int(sys.argv[sys.argv.index("--leader") + 1])
    os.kill({"leader": leader, "torchrun": os.getppid()}.get(who, os.getpid()), getattr(signal, name))


def _called(work: Work[object]) -> None:
    descriptor = os.open(os.environ[CALLS], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, f"{work.out.parents[1].name}/{work.key}\n".encode())
    os.close(descriptor)


# --------------------------------------------------------------------------------------------- what a batch shares


def with_checksum(text: str) -> str:
    """`text digest`; without spaces in the text."""
    return f"{text} {hashlib.sha256(text.encode()).hexdigest()[:12]}"


def is_whole(line: str) -> bool:
    words = line.split()
    return len(words) == 2 and line.strip() == with_checksum(words[0])


def _is_torn(lines: Path) -> bool:
    """Its last line lacks its end."""
    return lines.exists() and lines.read_bytes()[-1:] not in (b"", b"\n")


def shared(directory: Path) -> SharedReport:
    """Read what the answers share."""
    faults, count = [], 0
    for path in sorted(directory.rglob("lines.txt")):
        for at, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            count += 1
            faults += [] if is_whole(line) or not line else [f"{path.name}: line {at} damaged"]
    return SharedReport((f"{count} lines",), tuple(faults))


def repair_shared(directory: Path) -> None:
    for path in directory.rglob("lines.txt"):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        path.write_text("".join(line for line in lines if is_whole(line)), encoding="utf-8")
