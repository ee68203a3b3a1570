"""Broken servers: they do not answer, answer with an error, or do not exist."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@contextmanager
def out_of_order(how: str) -> Iterator[str]:
    """The address of a server that is `frozen`, `failing` or `refusing`; in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        if how != "refusing":
            process = os.fork()
            if not process:
                _serve(server, is_failing=how == "failing")
    try:
        yield address
    finally:
        if how != "refusing":
            os.kill(process, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(process, 0)


def _serve(server: socket.socket, is_failing: bool) -> None:
    """Never returns."""
    kept = []
    while True:
        connection, _ = server.accept()
        kept.append(connection)  # open, and silent
        if is_failing:
            connection.recv(65536)
            connection.sendall(ERROR)
            connection.close()
        time.sleep(0.01)
