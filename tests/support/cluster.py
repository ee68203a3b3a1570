"""A real SLURM on this machine: munged, slurmctld and a few slurmd as virtual nodes on the loopback interface.

Everything is in one short directory (unix sockets have short names) and nothing under /etc; daemons are stopped by
their process ids. A node pretends to have 64 CPUs, 512 GB and eight H100, so that the scripts of slurm/ are accepted.
Nodes are called 127.0.0.1, 127.0.0.2, ...: names that resolve everywhere, also for the processes of a job.

What makes it quick: jobs are scheduled every second, an epilog tells the controller at once that a job has ended, and a
job that is put back into the queue starts again after cred_expire + 1 seconds, of which 5 is the least.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import accounting
from tests.support.accounting import Accounting
from tests.support.cluster_processes import end, environment_of, open_files, pid_in, programs, send

PACKAGES = "slurmctld slurmd slurm-client munge"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "srun")
ACCOUNTING_PACKAGES = f"{PACKAGES} {accounting.PACKAGES}"
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
GPUS = 8
NODE_TIMEOUT_S = 10

CONF = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={root}/munge/s,cred_expire=5
SlurmctldPort={port}
SlurmctldPidFile={root}/run/slurmctld.pid
SlurmdPidFile={root}/run/slurmd.%n.pid
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool/%n
SlurmctldLogFile={root}/log/slurmctld.log
SlurmdLogFile={root}/log/slurmd.%n.log
TmpFS={root}/tmp
PlugStackConfig={root}/plugstack.conf
MailProg=/bin/true
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/{gather}
JobAcctGatherFrequency=task=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=100
SlurmdParameters=config_overrides
GresTypes=gpu
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=1,default_queue_depth=1000,bf_interval=1,bf_resolution=1,bf_yield_sleep=1000,bf_max_job_test=1000
PriorityType=priority/basic
CompleteWait=0
Epilog=/bin/true
EpilogMsgTime=1
KillWait=5
InactiveLimit=0
SlurmctldTimeout=10
SlurmdTimeout={node_timeout}
MessageTimeout=10
TCPTimeout=2
ReturnToService=2
JobRequeue=1
MaxArraySize={max_array_size}
MaxJobCount=20000
MinJobAge=86400
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
NodeName=DEFAULT CPUs=64 RealMemory=512000 TmpDisk=0 Gres=gpu:h100:{gpus} State=UNKNOWN
{nodes}
{accounting}PartitionName=DEFAULT Nodes=ALL MaxTime=INFINITE DefaultTime=60 State=UP OverSubscribe=NO
PartitionName=main Default=YES PriorityTier=10
PartitionName=low PriorityTier=1 PreemptMode=REQUEUE GraceTime=30
"""


def missing(has_accounting: bool = False) -> list[str]:
    """Programs of SLURM, or also of its accounting, that are not installed here."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    return [*absent, *accounting.missing(PATH)] if has_accounting else absent


@dataclass
class Cluster:
    """One running cluster.

    With accounting, sacct answers, jobs belong to the account "tests", and limits of its one user can be set.
    """

    nodes: int = 4
    max_array_size: int = 1001
    has_accounting: bool = False
    max_submit_jobs: int | None = None  # of the user, with accounting; array elements count
    root: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="sl", dir="/tmp")))

    def __post_init__(self) -> None:
        self.names = [f"127.0.0.{number + 1}" for number in range(self.nodes)]
        self.accounting: Accounting | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Of a user on the login node; nothing of a cluster that this test itself may run on."""
        outer = ("SLURM_", "SBATCH_", "SRUN_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(outer)}
        return {**kept, "PATH": PATH, "SLURM_CONF": str(self.root / "slurm.conf")}

    def start(self) -> None:
        for folder in ("munge", "state", "log", "run", "dev", "tmp", *(f"spool/{name}" for name in self.names)):
            (self.root / folder).mkdir(parents=True)
        self.root.chmod(0o755)
        self._write_configuration()
        self._start_munged()
        if self.accounting is not None:
            self.accounting.start()
        self.start_controller(first=True)
        for name in self.names:
            self.start_node(name)
        self.wait_until(lambda: set(self.ask("sinfo", "-h", "-N", "-o", "%T").split()) == {"idle"}, "nodes are idle")

    def stop(self) -> None:
        """Jobs first, then daemons, then whatever of the jobs is left."""
        self.run("scancel", "--user", self._user(), "--signal=KILL", "--full")
        self.run("scancel", "--user", self._user())
        for pid in self._daemons():
            end(pid)
        if self.accounting is not None:
            self.accounting.stop()
        for pid in self._processes(lambda environment: True):
            send(pid, signal.SIGKILL)
        shutil.rmtree(self.root, ignore_errors=True)

    # ---------------------------------------------------------------------------------------- what happens to clusters

    def start_controller(self, first: bool = False) -> None:
        fresh = ["-i"] if first else []  # later it would hide that state was lost
        self._daemon("slurmctld", *fresh, "-f", str(self.root / "slurm.conf"))
        self.wait_until(lambda: "is UP" in self.run("scontrol", "ping").stdout, "slurmctld answers")

    def stop_controller(self) -> None:
        end(pid_in(self.root / "run" / "slurmctld.pid"))

    def start_node(self, name: str) -> None:
        self._daemon("slurmd", "-f", str(self.root / "slurm.conf"), "-N", name)

    def kill_node(self, name: str) -> None:
        """Its daemon, its job steps and their processes, all at once and without a word."""
        pid_file = self.root / "run" / f"slurmd.{name}.pid"
        send(pid_in(pid_file), signal.SIGKILL)
        for pid in self._steps(name):
            send(pid, signal.SIGKILL)
        for pid in self._processes(lambda environment: f"SLURMD_NODENAME={name}" in environment):
            send(pid, signal.SIGKILL)
        pid_file.unlink()

    def tell_worker(self, job_id: str, number: signal.Signals) -> None:
        """Signal the Python processes of a job without SLURM's doing."""
        pythons = {pid for pid, program in programs() if "python" in program}
        for pid in pythons & set(self._processes(lambda environment: f"SLURM_JOB_ID={job_id}" in environment)):
            send(pid, number)

    # -------------------------------------------------------------------------------------------------------- questions

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=60)

    def ask(self, *command: str) -> str:
        done = self.run(*command)
        assert done.returncode == 0, f"{command}: status {done.returncode} {done.stderr}"
        return done.stdout.strip()

    def job(self, job_id: str) -> dict[str, str]:
        """What the controller knows of one job or array element."""
        line = self.ask("scontrol", "show", "job", "-o", job_id).splitlines()[-1]
        words = (word.partition("=") for word in line.split() if "=" in word)

        return {name: value for name, _, value in words}

    def wait_until(self, claim: Callable[[], object], what: str, most_s: float = 90.0) -> None:
        until = time.monotonic() + most_s
        while not claim():
            assert time.monotonic() < until, f"waited {most_s:.0f} s in vain until {what}\n{self._last_words()}"
            time.sleep(0.1)

    # ------------------------------------------------------------------------------------------------------- the inside

    def _write_configuration(self) -> None:
        for number in range(GPUS):
            (self.root / "dev" / f"nvidia{number}").symlink_to("/dev/null")  # counted like devices
        gres = f"AutoDetect=off\nName=gpu Type=h100 File={self.root}/dev/nvidia[0-{GPUS - 1}]\n"
        (self.root / "gres.conf").write_text(gres, encoding="ascii")
        (self.root / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n", encoding="ascii")  # never touched
        (self.root / "plugstack.conf").touch()
        host, port = socket.gethostname().partition(".")[0], _free_ports(self.nodes + 2)
        if self.has_accounting:
            self.accounting = Accounting(
                self.root, port + self.nodes + 1, self._user(), self.environment, self.max_submit_jobs
            )
        lines = [
            f"NodeName={name} NodeHostname={host} NodeAddr={name} Port={port + 1 + index}"
            for index, name in enumerate(self.names)
        ]
        text = CONF.format(
            host=host,
            user=self._user(),
            root=self.root,
            port=port,
            gpus=GPUS,
            node_timeout=NODE_TIMEOUT_S,
            max_array_size=self.max_array_size,
            nodes="\n".join(lines),
            gather="linux" if self.accounting else "none",  # linux: peak memory
            accounting=self.accounting.lines if self.accounting else "",
        )
        (self.root / "slurm.conf").write_text(text, encoding="ascii")

    def _start_munged(self) -> None:
        munge = self.root / "munge"
        munge.chmod(0o755)
        key = munge / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        places = [f"--{name}={munge / file}" for name, file in MUNGE_FILES.items()]
        self._daemon("munged", "--force", "--num-threads=2", *places)

    def _daemon(self, *command: str) -> None:
        done = self.run(*command)
        assert done.returncode == 0, f"{command}: {done.stderr}\n{self._last_words()}"

    def _user(self) -> str:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name

    def _daemons(self) -> list[int]:
        run = self.root / "run"
        files = [*sorted(run.glob("slurmd.*.pid")), run / "slurmctld.pid", self.root / "munge" / "pid"]
        return [pid_in(file) for file in files if file.exists()]

    def _steps(self, name: str) -> list[int]:
        """The slurmstepd of a node: they have its log open."""
        log = str(self.root / "log" / f"slurmd.{name}.log")
        return [pid for pid, program in programs() if "slurmstepd" in program and log in open_files(pid)]

    def _processes(self, of: Callable[[list[str]], bool]) -> Iterator[int]:
        """Processes of jobs of this cluster."""
        for pid, _ in programs():
            environment = environment_of(pid)
            if f"SLURM_CONF={self.root}/slurm.conf" not in environment:
                continue
            if any(entry.startswith("SLURMD_NODENAME=") for entry in environment) and of(environment):
                yield pid

    def _last_words(self) -> str:
        logs = sorted((self.root / "log").glob("*.log"))
        tails = [f"{log.name}: {line}" for log in logs for line in log.read_text().splitlines()[-5:]]
        return "\n".join([*self.run("squeue", "-r").stdout.splitlines(), *tails])


MUNGE_FILES = {"key-file": "key", "socket": "s", "log-file": "log", "pid-file": "pid", "seed-file": "seed"}


def _free_ports(count: int) -> int:
    """The first of so many consecutive ports on which nobody listens, below those that the kernel gives away."""
    start = 10000 + os.getpid() * 131 % 15000  # processes with neighboring ids may do this at the same time
    for first in range(start, start + 5000, count):
        sockets = [socket.socket() for _ in range(count)]
        try:
            for number, each in enumerate(sockets):
                each.bind(("127.0.0.1", first + number))
        except OSError:
            continue
        finally:
            for each in sockets:
                each.close()
        return first
    raise AssertionError("no free ports")
