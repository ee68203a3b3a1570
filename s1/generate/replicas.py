"""Data parallelism: the same engine several times, each in a process with devices of its own, as one engine.

All requests of one seed go to one replica: they continue each other's texts, whose keys and values lie there. A seed
that is new goes to the replica with the fewest open requests. The replica a request meets changes no token that the
engine itself would not change: they are the same model on the same kind of device.

    parent -> child   Request, numbered as they come; the pipe closed: end
    child -> parent   Hello once, then lists of (number, ids, End or None); a str: the error it died of

A replica reads its pipe in a thread of its own, so that the parent never waits for room in it while the replica waits
for room in the other direction.

Replicas end with their parent, however it dies and whatever they are doing: a run that begins again must not meet
their memory on its devices. On Linux the kernel kills them, also in the midst of a long call that lets no thread run;
elsewhere a thread of theirs waits for the parent's end.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from s1.generate.engine import Delta, Engine, EngineError, GenerationRequest, refuse_unservable

END_GRACE_S = 10.0
PR_SET_PDEATHSIG = 1  # of prctl(2)


@dataclass(frozen=True)
class Hello:
    """What a replica says once its model is loaded."""

    vocabulary: int
    context_tokens: int
    seeds_positions: bool
    kernels: Mapping[str, str]


@dataclass
class _Replica:
    process: SpawnProcess
    connection: Connection
    added: int = 0
    open: dict[int, GenerationRequest] = field(default_factory=dict)  # by number


class Replicas:
    """`devices[i]` is what replica i sees as CUDA_VISIBLE_DEVICES; `load` must be importable by name."""

    def __init__(self, load: Callable[[], Engine], devices: Sequence[str]) -> None:
        context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA
        self._homes: dict[int, _Replica] = {}  # by seed
        self._replicas: list[_Replica] = []
        with ExitStack() as unless_all_load:  # what is left loading would keep this process from its end
            unless_all_load.callback(self.close, grace_s=0)
            for visible in devices:
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(theirs, load, visible, _parent()))
                process.start()
                theirs.close()
                self._replicas.append(_Replica(process, ours))
            hello = self._hello()
            unless_all_load.pop_all()
        self.vocabulary = hello.vocabulary
        self.context_tokens = hello.context_tokens
        self.seeds_positions = hello.seeds_positions
        self.kernels = hello.kernels

    def add(self, request: GenerationRequest) -> None:
        refuse_unservable(request, self.vocabulary, self.context_tokens)
        if request.seed not in self._homes:
            self._homes[request.seed] = min(self._replicas, key=lambda each: len(each.open))
        home = self._homes[request.seed]
        home.open[home.added] = request
        home.added += 1
        try:
            home.connection.send(request)
        except OSError:  # it is gone, and may have said why
            while True:
                self._receive(home)

    def step(self) -> list[Delta]:
        """Wait until some replica has something to tell."""
        busy: dict[object, _Replica] = {each.connection: each for each in self._replicas if each.open}
        heard = wait([each.connection for each in busy.values()]) if busy else []
        return [portion for connection in heard for portion in self._heard(busy[connection])]

    @property
    def is_idle(self) -> bool:
        return not any(each.open for each in self._replicas)

    def close(self, grace_s: float = END_GRACE_S) -> None:
        """End all replicas, by force if one does not answer."""
        for each in self._replicas:
            each.connection.close()  # its next word with us ends it
        for each in self._replicas:
            each.process.join(grace_s)
            if each.process.is_alive():
                each.process.kill()
                each.process.join()

    def _hello(self) -> Hello:
        """What all of them say, once all are there."""
        first, *others = hellos = [self._receive(each) for each in self._replicas]
        if any(each != first for each in others):
            raise EngineError(f"replicas {hellos}: not alike. Give all copies of a model the same kind of device.")
        return first

    def _heard(self, replica: _Replica) -> list[Delta]:
        told = self._receive(replica)
        portions = [Delta(replica.open[number], ids, end) for number, ids, end in told]
        for number in (number for number, _, end in told if end):
            del replica.open[number]
        return portions

    def _receive(self, replica: _Replica) -> Any:
        try:
            message = replica.connection.recv()
        except (EOFError, ConnectionResetError):
            replica.process.join(END_GRACE_S)
            message = f"ended with status {replica.process.exitcode}"
        if isinstance(message, str):
            self.close()
            raise EngineError(f"replica {self._replicas.index(replica)}: {message}. Look into the log above.")
        return message


@dataclass(frozen=True)
class _Parent:
    """Whom a replica must not outlive."""

    process: int
    is_main_thread: bool  # that started it: the kernel's signal comes when the starting *thread* ends


def _parent() -> _Parent:
    return _Parent(os.getpid(), threading.current_thread() is threading.main_thread())


def _end_with(parent: _Parent) -> None:
    """End this process once its parent has ended; at once if it has already."""
    if sys.platform == "linux" and parent.is_main_thread:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    threading.Thread(target=_end_after_parent, daemon=True).start()
    if os.getppid() != parent.process:  # it ended before the kernel was asked
        os._exit(1)


def _end_after_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)  # whatever the other threads do


def _serve(connection: Connection, load: Callable[[], Engine], visible: str, parent: _Parent) -> None:
    """The life of a replica."""
    _end_with(parent)
    os.environ["CUDA_VISIBLE_DEVICES"] = visible  # before anything asks CUDA
    try:
        with closing(load()) as engine:
            hello = Hello(engine.vocabulary, engine.context_tokens, engine.seeds_positions, dict(engine.kernels))
            connection.send(hello)
            _answer(connection, engine)
    except (BrokenPipeError, ConnectionResetError):
        return  # the parent is gone
    except Exception as error:  # the process boundary: the parent is told, the log has the rest
        connection.send(f"{type(error).__name__}: {error}")
        raise


def _answer(connection: Connection, engine: Engine) -> None:
    """Take requests as they come, tell portions as they come; until the parent closes."""
    arrived: queue.SimpleQueue[GenerationRequest | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(connection, arrived), daemon=True).start()
    open_requests: dict[int, tuple[int, GenerationRequest]] = {}  # number and request, by identity
    added = 0
    while True:
        while engine.is_idle or not arrived.empty():
            request = arrived.get()
            if request is None:
                return
            open_requests[id(request)] = (added, request)
            added += 1
            engine.add(request)
        portions = engine.step()
        if portions:
            connection.send([(open_requests[id(each.request)][0], each.ids, each.end) for each in portions])
        for portion in portions:
            if portion.end:
                del open_requests[id(portion.request)]


def _read(connection: Connection, arrived: queue.SimpleQueue[GenerationRequest | None]) -> None:
    """Requests into the queue, None once the parent has closed or is gone."""
    try:
        while True:
            arrived.put(connection.recv())
    except (EOFError, OSError):
        arrived.put(None)
