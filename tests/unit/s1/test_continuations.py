"""The continuation store: nothing known is generated twice, and no accident to its files changes an answer."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s1.config.schema import ConfigError
from s1.files.checked_lines import checked_line
from s1.generate.continuation_files import ReadStatistics
from s1.generate.continuations import Continuations, folder_of_model, stream_key
from s1.generate.engine import Completion, GenerationRequest, Sampling
from s1.generate.scripted import ScriptedEngine
from tests.support.engines import finish
from tests.support.known import known
from tests.support.words import babbler

STOP = (1,)
REQUEST = GenerationRequest((5, 6), 8, (STOP,), False, Sampling(0.0), 0)


def counting(stop_at: int) -> ScriptedEngine:
    """Continues any prompt by counting its tokens, and stops once the text has `stop_at` of them."""
    return ScriptedEngine(lambda ids, request, forbidden: 1 if len(ids) >= stop_at else 10 + len(ids), 100, 100)


def ask(store: Continuations, engine: ScriptedEngine, request: GenerationRequest) -> Completion:
    """What a rollout does for one demand."""
    key = stream_key(request)
    while (completion := store.serve(key, request)) is None:
        engine.add(store.missing(key, request))
        while not engine.is_idle:
            for delta in engine.step():
                store.append(key, delta)
    return completion


def test_a_smaller_request_is_served_from_a_larger_one(tmp_path: Path) -> None:
    engine = counting(stop_at=50)
    with Continuations(tmp_path) as store:
        whole = ask(store, engine, REQUEST)
        part = ask(store, engine, replace(REQUEST, max_tokens=3))
    assert part.ids == whole.ids[:3]
    assert len(engine.requests) == 1


def test_a_larger_request_generates_only_what_is_missing(tmp_path: Path) -> None:
    engine = counting(stop_at=50)
    with Continuations(tmp_path) as store:
        ask(store, engine, replace(REQUEST, max_tokens=3, forbid_stop_first=True))
        whole = ask(store, engine, replace(REQUEST, forbid_stop_first=True))
    assert engine.requests[1] == replace(REQUEST, prompt_ids=(5, 6, 12, 13, 14), max_tokens=5, already_sampled=3)
    assert whole.ids == tuple(range(12, 20))


def test_an_ended_stream_answers_every_larger_request_and_cuts_every_smaller(tmp_path: Path) -> None:
    engine = counting(stop_at=5)
    with Continuations(tmp_path) as store:
        assert ask(store, engine, REQUEST) == Completion((12, 13, 14), STOP)
        assert ask(store, engine, replace(REQUEST, max_tokens=90)).ended_by == STOP
        assert ask(store, engine, replace(REQUEST, max_tokens=4)).ended_by == STOP
        assert ask(store, engine, replace(REQUEST, max_tokens=3)).ended_by is None
    assert len(engine.requests) == 1


@pytest.mark.parametrize("first_tokens", range(1, 8))
def test_a_stop_across_two_requests_is_found(tmp_path: Path, first_tokens: int) -> None:
    """The second request tells the engine how much of its prompt was sampled in the first."""
    request = replace(REQUEST, stop_ids=((14, 15, 16),))
    with Continuations(tmp_path) as store:
        ask(store, counting(50), replace(request, max_tokens=first_tokens))
        assert ask(store, counting(50), request) == Completion((12, 13), (14, 15, 16))


def test_seed_and_top_p_divide_streams_only_when_they_matter() -> None:
    other = replace(REQUEST, seed=1, sampling=Sampling(0.0, top_p=0.5))
    assert stream_key(other) == stream_key(REQUEST)
    warm = replace(REQUEST, sampling=Sampling(1.0))
    assert len({stream_key(each) for each in (REQUEST, warm, replace(warm, seed=1))}) == 3


def test_what_was_written_is_served_to_the_next_process(tmp_path: Path) -> None:
    with Continuations(tmp_path) as store:
        known = ask(store, counting(50), REQUEST)
    with Continuations(tmp_path) as store:
        assert store.serve(stream_key(REQUEST), REQUEST) == known


EARLIER_FILE = b"""\
e38ad698 {"stream":"451e80c140ae6bfad26fedda15544e4d","at":0,"ids":[12,13,14],"stop":null}
2458bba5 {"stream":"451e80c140ae6bfad26fedda15544e4d","at":3,"ids":[15,16,17,18,1],"stop":[1]}
3f4facbc {"stream":"5b5b0cfc892449d7f07b37a6177dec46","at":0,"ids":[12,13,14,15],"stop":null}
"""


def test_a_file_of_an_earlier_version_is_used_and_ours_has_the_same_bytes(tmp_path: Path) -> None:
    warm = replace(
        REQUEST, sampling=Sampling(0.6, 0.95), seed=7, stop_ids=((1,), (3, 4)), forbid_stop_first=True, max_tokens=4
    )
    (tmp_path / "earlier").mkdir()
    (tmp_path / "earlier" / "a-1-f00d.jsonl").write_bytes(EARLIER_FILE)
    with Continuations(tmp_path / "earlier") as store:
        assert known(store.serve(stream_key(REQUEST), REQUEST)) == Completion(tuple(range(12, 19)), STOP)
        assert known(store.serve(stream_key(warm), warm)) == Completion((12, 13, 14, 15), None)
        assert store.read_statistics == ReadStatistics(tokens=12, rejected_lines=0, digest="8fd90af8cbc6")
    with Continuations(tmp_path / "ours") as store:
        for engine, request in (
            (counting(9), replace(REQUEST, max_tokens=3)),
            (counting(9), REQUEST),
            (counting(50), warm),
        ):
            ask(store, engine, request)
    (ours,) = (tmp_path / "ours").iterdir()
    assert ours.read_bytes() == EARLIER_FILE


def test_two_writers_of_one_stream_merge(tmp_path: Path) -> None:
    with Continuations(tmp_path) as one, Continuations(tmp_path) as other:
        ask(one, counting(50), replace(REQUEST, max_tokens=4))
        ask(other, counting(50), replace(REQUEST, max_tokens=2))
        ask(other, counting(50), REQUEST)
    with Continuations(tmp_path) as store:
        assert ask(store, counting(0), REQUEST).ids == tuple(range(12, 20))


def test_a_writer_who_disagrees_is_ignored_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Continuations(tmp_path) as one, Continuations(tmp_path) as other:
        ask(one, counting(50), REQUEST)
        ask(other, counting(4), REQUEST)
    with caplog.at_level(logging.WARNING), Continuations(tmp_path) as store:
        assert known(store.serve(stream_key(REQUEST), replace(REQUEST, max_tokens=2))).ids == (12, 13)
    assert "disagree" in caplog.text


def small_file(directory: Path) -> tuple[Path, Completion]:
    """Three chunks of one ended stream in one file."""
    with Continuations(directory) as store:
        for tokens in (2, 5, 9):
            ask(store, counting(9), replace(REQUEST, max_tokens=tokens))
        truth = ask(store, counting(9), REQUEST)
    (path,) = directory.glob("*.jsonl")
    return path, truth


def check_survives(directory: Path, truth: Completion) -> None:
    """Whatever is read is a part of the truth, and the whole is had again from an engine."""
    with Continuations(directory) as store:
        assert ask(store, counting(9), REQUEST) == truth
    with Continuations(directory) as store:
        assert store.serve(stream_key(REQUEST), REQUEST) == truth


def test_a_file_cut_at_any_byte_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    path, truth = small_file(tmp_path / "whole")
    content = path.read_bytes()
    for length in range(len(content)):
        directory = tmp_path / str(length)
        directory.mkdir()
        (directory / "torn.jsonl").write_bytes(content[:length])
        check_survives(directory, truth)


def test_a_file_with_any_byte_flipped_is_used_without_that_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, truth = small_file(tmp_path / "whole")
    content = path.read_bytes()
    for place in range(len(content)):
        directory = tmp_path / str(place)
        directory.mkdir()
        (directory / "bad.jsonl").write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        caplog.clear()
        check_survives(directory, truth)
        assert "damaged" in caplog.text


def test_chunks_behind_a_lost_line_are_used_again_once_the_gap_is_filled(tmp_path: Path) -> None:
    path, truth = small_file(tmp_path)
    first, _, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + third)
    with Continuations(tmp_path) as store:
        ask(store, counting(9), replace(REQUEST, max_tokens=5))
    with Continuations(tmp_path) as store:
        assert store.serve(stream_key(REQUEST), REQUEST) == truth


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=6),
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple), max_size=3).map(tuple),
    st.integers(2, 12),
)
def test_any_order_of_requests_gets_what_one_request_gets(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], stops: tuple[tuple[int, ...], ...], every: int
) -> None:
    def engine() -> ScriptedEngine:
        return ScriptedEngine(babbler(6, every, stop=1), 6, 100)

    request = replace(REQUEST, prompt_ids=(3,), stop_ids=stops, max_tokens=max(sizes))
    with Continuations(tmp_path_factory.mktemp("a")) as store, Continuations(tmp_path_factory.mktemp("b")) as other:
        for size in sizes:
            wanted = replace(request, max_tokens=size)
            (direct,) = finish(engine(), [wanted])
            assert ask(store, engine(), wanted) == direct
            assert ask(other, engine(), wanted) == direct


# --------------------------------------------------------------------------- lines of others, and files that are none


def chunk(**fields: object) -> bytes:
    """A line with a right checksum, of whatever it holds."""
    whole = {"stream": stream_key(REQUEST), "at": 0, "ids": [77, 78], "stop": None}
    return checked_line({**whole, **fields})


FOREIGN = {
    "a negative place": chunk(at=-1),
    "a place that is no number": chunk(at="0"),
    "a place that is true": chunk(at=True),
    "a fraction": chunk(ids=[7.5]),
    "a negative id": chunk(ids=[-7]),
    "an id outside the vocabulary": chunk(ids=[100]),
    "ids that are none": chunk(ids="77"),
    "a nested list": chunk(ids=[[7]]),
    "an empty stop": chunk(stop=[]),
    "a stop that is a number": chunk(stop=1),
    "a stop that its ids do not end in": chunk(stop=[9]),
    "a stop that nobody asked for": chunk(stop=[78]),
    "a field more": chunk(more=1),
    "a list": checked_line([1, 2]),
    "no stream": checked_line({"at": 0, "ids": [7], "stop": None}),
    "a stream that is none": chunk(stream=7),
}


@pytest.mark.parametrize("line", FOREIGN.values(), ids=FOREIGN)
def test_a_line_that_holds_no_chunk_of_this_model_is_left_out_and_counted(tmp_path: Path, caplog, line: bytes) -> None:
    (tmp_path / "a-1-stranger.jsonl").write_bytes(line)
    with Continuations(tmp_path, vocabulary=100) as store:
        assert ask(store, counting(9), REQUEST) == Completion(tuple(range(12, 19)), STOP)
        assert store.read_statistics.rejected_lines == 1
    assert "ignored" in caplog.text


def test_what_was_read_is_noted(tmp_path: Path) -> None:
    with Continuations(tmp_path) as store:
        assert (store.read_statistics.tokens, store.read_statistics.rejected_lines, store.read_statistics.digest) == (
            0,
            0,
            None,
        )
        ask(store, counting(50), replace(REQUEST, max_tokens=3))
    with Continuations(tmp_path) as store:
        ask(store, counting(50), REQUEST)
        assert (store.read_statistics.tokens, store.read_tokens(stream_key(REQUEST), 8)) == (3, 3)
        first = store.read_statistics.digest
    with Continuations(tmp_path) as store:
        assert store.read_statistics.tokens == 0  # a stream is read when it is needed
        assert known(store.serve(stream_key(REQUEST), REQUEST)).ids == tuple(range(12, 20))
        assert store.read_statistics.tokens == 8 and store.read_statistics.digest not in (first, None)


def test_writers_who_disagree_are_counted(tmp_path: Path) -> None:
    with Continuations(tmp_path) as one, Continuations(tmp_path) as other:
        ask(one, counting(50), REQUEST)
        ask(other, counting(4), REQUEST)
    with Continuations(tmp_path) as store:
        store.serve(stream_key(REQUEST), REQUEST)
        assert store.read_statistics.rejected_lines == 1


def test_a_file_that_is_a_directory_or_empty_harms_no_other(tmp_path: Path, caplog) -> None:
    path, truth = small_file(tmp_path)
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "empty.jsonl").touch()
    with Continuations(tmp_path) as store:
        assert store.serve(stream_key(REQUEST), REQUEST) == truth
        assert store.read_statistics.rejected_lines == 1
    assert "folder.jsonl: Is a directory. Its tokens will be generated again." in caplog.text
    with pytest.raises(ConfigError, match="is a file, but the continuation store needs a directory"):
        Continuations(path)


@pytest.mark.parametrize("room", [0, 1, 30])
def test_a_chunk_after_a_full_disk_is_not_glued_to_the_torn_one(tmp_path: Path, room: int) -> None:
    class Disk:
        def __init__(self, file) -> None:
            self.file, self.room, self.fileno, self.close = file, room, file.fileno, file.close

        def write(self, content: bytes) -> int:
            if self.room == 0:
                raise OSError(28, "No space left on device")
            taken = self.file.write(content[: self.room])
            self.room -= taken
            return taken

    with Continuations(tmp_path) as store:
        ask(store, counting(50), replace(REQUEST, max_tokens=2))
        lines: Any = store._lines
        disk = lines._file = Disk(lines._file)
        with pytest.raises(OSError, match="No space left"):
            ask(store, counting(50), replace(REQUEST, prompt_ids=(8,)))
        disk.room = 10_000
        ask(store, counting(50), replace(REQUEST, max_tokens=4))
    with Continuations(tmp_path) as store:
        assert known(store.serve(stream_key(REQUEST), replace(REQUEST, max_tokens=4))).ids == (12, 13, 14, 15)


def test_a_model_of_other_bytes_gets_a_folder_of_its_own(tmp_path: Path, caplog) -> None:
    folder = tmp_path / "9f3c"
    assert folder_of_model(folder, "aaaa") == folder == folder_of_model(folder, "aaaa")
    assert not caplog.records
    assert folder_of_model(folder, "bbbb") == tmp_path / "9f3c-bbbb"
    assert "belongs to the model aaaa, not bbbb. Its continuations are not used." in caplog.text
    assert [path.name for path in folder.iterdir()] == ["model.json"]
    content = (folder / "model.json").read_bytes()
    for place in range(len(content) - 1):
        (folder / "model.json").write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert folder_of_model(folder, "aaaa") == tmp_path / "9f3c-aaaa"
    assert "its model.json is damaged" in caplog.text
