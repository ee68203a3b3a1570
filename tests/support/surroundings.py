"""Normalizes what tests inherit from the process that starts them: environment, signals, umask, home.

tests/conftest.py calls this before it imports anything else, so that a shell's COLUMNS, HF_HOME or locale, a login's
W&B key, a SLURM job around the tests or a `nohup` in front of them changes no result. Processes that tests start
inherit it.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
HOME = "S1_TESTS_HOME"  # set by the first process of a session, inherited by its xdist workers
KEPT = {
    *("PATH", "LD_LIBRARY_PATH", "USER", "LOGNAME", "SHELL", "TMPDIR", "CI", "VIRTUAL_ENV", "CC", "CXX", "PY_COLORS"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
}
KEPT_PREFIXES = ("PYTEST_", "PIP_", "S1_", "OMP_", "VLLM_", "CUDA_", "NVIDIA_", "COVERAGE_")
GIVEN = {"LANG": "C.UTF-8", "TZ": "UTC", "NO_PROXY": "127.0.0.1,localhost", "PYTHONPATH": str(PROJECT)}


def settle() -> None:
    """Make this process, and what it starts, independent of who started it. Once per process, in its main thread."""
    home = os.environ.get(HOME) or _new_home()
    kept = {name: value for name, value in os.environ.items() if _is_kept(name)}
    os.environ.clear()
    os.environ.update({**kept, **GIVEN, "HOME": home, HOME: home})
    os.umask(0o022)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)  # still without effect here, but not inherited by programs


def _is_kept(name: str) -> bool:
    return name.upper() in KEPT or name.startswith(KEPT_PREFIXES)


def _new_home() -> str:
    home = tempfile.mkdtemp(prefix="s1-tests-home-")
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(home, ignore_errors=True)

    atexit.register(remove)
    return home
