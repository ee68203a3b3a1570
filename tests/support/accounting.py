"""SLURM's accounting for a test cluster: a MariaDB on a unix socket and slurmdbd, in the directory of the cluster.

The database is made for one cluster and thrown away with it. It listens on no port and has no users.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.support.cluster_processes import end, pid_in, send

PACKAGES = "slurmdbd slurm-wlm-mysql-plugin mariadb-server-core"
PROGRAMS = ("mariadbd", "slurmdbd", "sacctmgr", "sacct")
SHARE = Path("/usr/share/mysql")
SYSTEM_TABLES = ("mysql_system_tables.sql", "mysql_system_tables_data.sql")
ACCOUNT = "tests"

CONF = """\
AuthType=auth/munge
AuthInfo=socket={root}/munge/s
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser={user}
PidFile={root}/run/slurmdbd.pid
LogFile={root}/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm
CommitDelay=0
"""
CLUSTER_CONF = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port}
AccountingStoragePass={root}/munge/s
AccountingStorageEnforce=associations,limits,qos
AccountingStorageTRES=gres/gpu
"""  # added to slurm.conf


@dataclass(frozen=True)
class Accounting:
    """The accounting of one cluster; munged must run before it starts."""

    root: Path  # of the cluster: SLURM looks for slurmdbd.conf beside slurm.conf
    port: int
    user: str
    environment: dict[str, str]
    max_submit_jobs: int | None = None  # limit of the user's association; array elements count

    @property
    def lines(self) -> str:
        """What slurm.conf says about it."""
        return CLUSTER_CONF.format(root=self.root, port=self.port)

    def start(self) -> None:
        self._make_database()
        self._start_database()
        self.start_daemon()
        limit = [] if self.max_submit_jobs is None else [f"MaxSubmitJobs={self.max_submit_jobs}"]
        self._manage("add", "cluster", "tests")
        self._manage("add", "account", ACCOUNT, "Cluster=tests")
        self._manage("add", "user", self.user, f"Account={ACCOUNT}", *limit)
        self._manage("modify", "user", self.user, "set", f"DefaultAccount={ACCOUNT}")  # SLURM gives root another

    def stop(self) -> None:
        self.stop_daemon()
        if self._database_pid_file.exists():
            send(pid_in(self._database_pid_file), signal.SIGKILL)  # nothing of it is kept

    def start_daemon(self) -> None:
        """Start slurmdbd, which finds the database through the environment."""
        (self.root / "slurmdbd.conf").write_text(CONF.format(root=self.root, port=self.port, user=self.user))
        (self.root / "slurmdbd.conf").chmod(0o600)
        self._run("slurmdbd", environment={"MYSQL_UNIX_PORT": str(self._socket)})
        self._wait_for(lambda: _listens(self.port), "slurmdbd")

    def stop_daemon(self) -> None:
        """As when the accounting database is down: sacct fails, and the controller goes on."""
        pid_file = self.root / "run" / "slurmdbd.pid"
        if pid_file.exists():
            end(pid_in(pid_file))

    @property
    def _socket(self) -> Path:
        return self.root / "database" / "s"

    @property
    def _database_pid_file(self) -> Path:
        return self.root / "run" / "mariadbd.pid"

    @property
    def _database_command(self) -> list[str]:
        place = self.root / "database"
        cheap = ("buffer-pool-size=64M", "log-file-size=16M", "lock-wait-timeout=900", "flush-log-at-trx-commit=0")
        return [
            *("mariadbd", "--no-defaults", f"--datadir={place / 'data'}", f"--plugin-dir={place}"),
            *(f"--lc-messages-dir={SHARE}", f"--user={self.user}", "--skip-grant-tables", "--skip-name-resolve"),
            *(f"--innodb-{each}" for each in cheap),
            *("--skip-innodb-doublewrite", "--innodb-use-native-aio=0"),
        ]

    def _make_database(self) -> None:
        (self.root / "database" / "data").mkdir(parents=True)
        tables = [(SHARE / name).read_text(encoding="utf-8") for name in SYSTEM_TABLES]
        text = "\n".join(["create database mysql;", "use mysql;", *tables])
        self._run(*self._database_command, "--bootstrap", text=text)

    def _start_database(self) -> None:
        command = [*self._database_command, "--skip-networking", f"--socket={self._socket}"]
        log = (self.root / "log" / "mariadbd.log").open("w", encoding="utf-8")
        subprocess.Popen(
            [*command, f"--pid-file={self._database_pid_file}"],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        self._wait_for(lambda: self._socket.exists() and self._database_pid_file.exists(), "mariadbd")

    def _manage(self, *words: str) -> None:
        """sacctmgr, without questions."""
        self._run("sacctmgr", "--immediate", *words)

    def _run(self, *command: str, environment: dict[str, str] | None = None, text: str | None = None) -> None:
        done = subprocess.run(
            command,
            env={**self.environment, **(environment or {})},
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-500:]} {done.stderr[-500:]}"

    def _wait_for(self, claim: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + 60
        while not claim():
            assert time.monotonic() < until, f"{what} does not start: {self._last_words(what)}"
            time.sleep(0.05)

    def _last_words(self, program: str) -> str:
        return "\n".join((self.root / "log" / f"{program}.log").read_text(encoding="utf-8").splitlines()[-5:])


def missing(path: str) -> list[str]:
    """Programs of the accounting that are not on this path."""
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


def _listens(port: int) -> bool:
    with socket.socket() as each:
        return each.connect_ex(("127.0.0.1", port)) == 0
