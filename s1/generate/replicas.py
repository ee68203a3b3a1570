"""Data parallelism: several copies of an engine, each in its own process on its own devices, behind one Engine.

All requests of one seed go to one replica, because they continue each other's texts and the keys and values are cached
there. A new seed goes to the replica with the fewest open requests. The choice of replica changes no token: all run the
same model on the same kind of device.

    parent -> child   GenerationRequest, numbered by arrival; a closed pipe means: exit
    child -> parent   ReplicaInfo once, then lists of (number, ids, RequestEnd or None); a str is a fatal error

A replica reads its pipe in a separate thread. Otherwise parent and replica could each block on a full pipe while
waiting for the other to read.

Replicas exit with their parent, however it dies and whatever they are doing: a restarted run must not find their memory
still allocated on its devices. On Linux the kernel kills them, even during a long call that blocks all Python threads;
elsewhere a thread waits for the parent to exit.
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
PR_SET_PDEATHSIG = 1  # option of prctl(2)


@dataclass(frozen=True)
class ReplicaInfo:
    """Properties of a replica's engine, sent once its model is loaded."""

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
    """An Engine over several processes.

    `devices[i]` is the CUDA_VISIBLE_DEVICES of replica i; `load` must be picklable, so importable by name.
    """

    def __init__(self, load: Callable[[], Engine], devices: Sequence[str]) -> None:
        context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA
        self._replica_by_seed: dict[int, _Replica] = {}  # seeds stay with their replica
        self._replicas: list[_Replica] = []
        with ExitStack() as unless_all_load:  # a replica still loading would keep this process from exiting
            unless_all_load.callback(self.close, grace_s=0)
            for visible in devices:
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(theirs, load, visible, _parent()))
                process.start()
                theirs.close()
                self._replicas.append(_Replica(process, ours))
            info = self._receive_infos()
            unless_all_load.pop_all()
        self.vocabulary = info.vocabulary
        self.context_tokens = info.context_tokens
        self.seeds_positions = info.seeds_positions
        self.kernels = info.kernels

    def add(self, request: GenerationRequest) -> None:
        refuse_unservable(request, self.vocabulary, self.context_tokens)
        if request.seed not in self._replica_by_seed:
            self._replica_by_seed[request.seed] = min(self._replicas, key=lambda each: len(each.open))
        replica = self._replica_by_seed[request.seed]
        replica.open[replica.added] = request
        replica.added += 1
        try:
            replica.connection.send(request)
        except OSError:  # the replica is gone and may have sent its error: read until _receive raises
            while True:
                self._receive(replica)

    def step(self) -> list[Delta]:
        """Block until at least one replica has sent deltas."""
        busy: dict[object, _Replica] = {each.connection: each for each in self._replicas if each.open}
        ready = wait([each.connection for each in busy.values()]) if busy else []
        return [delta for connection in ready for delta in self._receive_deltas(busy[connection])]

    @property
    def is_idle(self) -> bool:
        return not any(each.open for each in self._replicas)

    def close(self, grace_s: float = END_GRACE_S) -> None:
        """Stop all replicas; kill those that have not exited after `grace_s`."""
        for each in self._replicas:
            each.connection.close()  # a replica exits at its next read or write
        for each in self._replicas:
            each.process.join(grace_s)
            if each.process.is_alive():
                each.process.kill()
                each.process.join()

    def _receive_infos(self) -> ReplicaInfo:
        """Wait for all replicas to load. Raises EngineError if they differ."""
        first, *others = infos = [self._receive(each) for each in self._replicas]
        if any(each != first for each in others):
            raise EngineError(f"replicas {infos}: not the same. Give all copies of a model the same kind of device.")
        return first

    def _receive_deltas(self, replica: _Replica) -> list[Delta]:
        received = self._receive(replica)
        deltas = [Delta(replica.open[number], ids, end) for number, ids, end in received]
        for number in (number for number, _, end in received if end):
            del replica.open[number]
        return deltas

    def _receive(self, replica: _Replica) -> Any:
        try:
            message = replica.connection.recv()
        except (EOFError, ConnectionResetError):
            replica.process.join(END_GRACE_S)
            message = f"ended with status {replica.process.exitcode}"
        if isinstance(message, str):
            self.close()
            raise EngineError(f"replica {self._replicas.index(replica)}: {message}. See the log above.")
        return message


@dataclass(frozen=True)
class _Parent:
    """The process that a replica must not outlive."""

    process: int
    is_main_thread: bool  # whether it starts replicas: the kernel signals when the starting *thread* ends


def _parent() -> _Parent:
    return _Parent(os.getpid(), threading.current_thread() is threading.main_thread())


def _end_with(parent: _Parent) -> None:
    """Exit when the parent exits; immediately if it already has."""
    if sys.platform == "linux" and parent.is_main_thread:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    threading.Thread(target=_end_after_parent, daemon=True).start()
    if os.getppid() != parent.process:  # the parent exited before prctl took effect
        os._exit(1)


def _end_after_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)  # whatever the other threads do


def _serve(connection: Connection, load: Callable[[], Engine], visible: str, parent: _Parent) -> None:
    """Main function of a replica process."""
    _end_with(parent)
    os.environ["CUDA_VISIBLE_DEVICES"] = visible  # before anything initializes CUDA
    try:
        with closing(load()) as engine:
            info = ReplicaInfo(engine.vocabulary, engine.context_tokens, engine.seeds_positions, dict(engine.kernels))
            connection.send(info)
            _serve_requests(connection, engine)
    except (BrokenPipeError, ConnectionResetError):
        return  # the parent is gone
    except Exception as error:  # process boundary: the parent gets the message, the log the traceback
        connection.send(f"{type(error).__name__}: {error}")
        raise


def _serve_requests(connection: Connection, engine: Engine) -> None:
    """Receive requests and send deltas until the parent closes the pipe."""
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
        deltas = engine.step()
        if deltas:
            connection.send([(open_requests[id(each.request)][0], each.ids, each.end) for each in deltas])
        for delta in deltas:
            if delta.end:
                del open_requests[id(delta.request)]


def _read(connection: Connection, arrived: queue.SimpleQueue[GenerationRequest | None]) -> None:
    """Put received requests into the queue; put None once the parent has closed the pipe or is gone."""
    try:
        while True:
            arrived.put(connection.recv())
    except (EOFError, OSError):
        arrived.put(None)
