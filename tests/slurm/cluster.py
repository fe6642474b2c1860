"""A Slurm cluster of four nodes on one machine, for tests: a controller and four node daemons, all state in one folder.

Needs the programs of Debian's packages slurmctld, slurmd, slurm-client and munge; runs as root or as anybody else, and
touches nothing in /etc. ``python tests/slurm/cluster.py`` starts one to play with.
"""

import getpass
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil

CPU_NODES, GPU_NODES = ("c1", "c2"), ("g1", "g2")
NODES = CPU_NODES + GPU_NODES
CPUS, MEMORY_MB, GPUS = 8, 64_000, 4
"""Of each node, as Slurm believes; the machine may have less."""

COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo", "sacct")
DAEMONS = ("munged", "slurmctld", "slurmd", "setpriv")
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])  # where Debian keeps the daemons

SLURM_CONF = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_min_interval=0,sched_interval=1,bf_interval=1,batch_sched_delay=0
# A job over its memory is killed, as control groups would: processes are measured every second.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
EnforcePartLimits=ALL
# A node that does not answer for five seconds is down; one that comes back is used again.
SlurmdTimeout=5
ReturnToService=2
KillWait=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MinJobAge=300
GresTypes=gpu
NodeName=c[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports[1]}-{ports[2]}] {node}
NodeName=g[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports[3]}-{ports[4]}] {node} Gres=gpu:{gpus}
PartitionName=cpu Nodes=c[1-2] Default=YES LLN=YES MaxTime=INFINITE DefMemPerCPU=100
PartitionName=gpu Nodes=g[1-2] LLN=YES MaxTime=INFINITE DefMemPerCPU=100
PartitionName=urgent Nodes=g[1-2] PriorityTier=10 MaxTime=INFINITE DefMemPerCPU=100
"""


def missing():
    """Return the names of programs that are not installed."""
    return [name for name in (*DAEMONS, *COMMANDS) if shutil.which(name, path=PATH) is None]


class JobState(NamedTuple):
    """What Slurm says of a job; `nodes` is empty before it starts."""

    name: str
    state: str
    nodes: str


class Cluster:
    """A running cluster: partition ``cpu`` with nodes c1 and c2, ``gpu`` with g1 and g2, of four fake GPUs each.

    Jobs of the partition ``urgent``, on the same nodes, preempt those of ``gpu``: Slurm requeues them if it may.
    As a context manager it stops at the end, and with it all that its jobs started.

    Attributes
    ----------
    environment : dict
        What a process needs to speak to this cluster.
    """

    def __init__(self):
        # A short path: those of sockets may have 107 characters.
        self._temporary = tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp")
        self.folder = Path(self._temporary.name)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SLURM_")},
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": f"{self.folder}/bin{os.pathsep}{PATH}",
        }
        self._daemons = {}

    def __enter__(self):
        try:
            self._write_files()
            self._start_munge()
            self._start("slurmctld", "-D")
            for node in NODES:
                self.start_node(node)
            self.wait_until_idle()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def run(self, *command):
        """Run a command on the cluster; return what it prints."""
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=True
        ).stdout

    def jobs(self, *options):
        """Return the ids of the jobs in Slurm's queue that the options of squeue select."""
        return [int(job) for job in self.run("squeue", "--noheader", "--format=%A", *options).split()]

    def states(self):
        """Return job id -> `JobState` of every job of the last five minutes, ended ones too."""
        lines = self.run("squeue", "--noheader", "--states=all", "--format=%A|%j|%T|%N").splitlines()
        return {int(job): JobState(*rest) for job, *rest in (line.split("|") for line in lines)}

    def start_node(self, node):
        self._start(f"slurmd-{node}", "-D", "-N", node, program="slurmd")

    def kill_node(self, node):
        """Kill a node's daemon and every process of its jobs, as a power cut does."""
        daemon = self._daemons.pop(f"slurmd-{node}")
        daemon.kill()
        daemon.wait()
        _kill(self._steps(node))

    def wait_until_idle(self):
        """Wait until all nodes are there and none has work."""
        deadline = time.monotonic() + 60
        while self._node_states() != dict.fromkeys(NODES, "idle"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"Slurm's nodes are not idle:\n{self.logs()}")
            time.sleep(0.1)

    def reset(self):
        """Cancel all jobs, bring every node back, and wait until they are idle."""
        self.run("scancel", f"--user={getpass.getuser()}")
        for node in NODES:
            if f"slurmd-{node}" not in self._daemons:
                self.start_node(node)
        self.wait_until_idle()

    def stop(self):
        """Kill the daemons and every process of a job, and remove the folder."""
        for daemon in self._daemons.values():
            daemon.kill()
            daemon.wait()
        self._daemons.clear()
        _kill(process for node in NODES for process in self._steps(node))
        _kill(self._clients())
        self._temporary.cleanup()

    def logs(self):
        """Return the ends of the daemons' logs."""
        return "\n".join(f"{path.name}:\n{path.read_text()[-1500:]}" for path in sorted(self.folder.glob("*.log")))

    def _write_files(self):
        self.folder.chmod(0o755)  # munge insists
        for name in ("bin", "dev", "munge", "state", "spool"):
            (self.folder / name).mkdir()
        settings = {
            "host": socket.gethostname().split(".")[0],
            "ports": _free_ports(1 + len(NODES)),
            "user": getpass.getuser(),
            "folder": self.folder,
            "node": f"CPUs={CPUS} Sockets=1 CoresPerSocket={CPUS} ThreadsPerCore=1 RealMemory={MEMORY_MB}",
            "gpus": GPUS,
        }
        (self.folder / "slurm.conf").write_text(SLURM_CONF.format(**settings))
        (self.folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
        for gpu in range(GPUS):  # a GPU must be a device; without one CUDA_VISIBLE_DEVICES would stay empty
            (self.folder / f"dev/gpu{gpu}").symlink_to("/dev/null")
        (self.folder / "gres.conf").write_text(f"NodeName=g[1-2] Name=gpu File={self.folder}/dev/gpu[0-{GPUS - 1}]\n")
        for name in COMMANDS:  # Snakemake's jobs lose SLURM_CONF on their way, but not PATH
            command = self.folder / "bin" / name
            conf = self.environment["SLURM_CONF"]
            command.write_text(f'#!/bin/sh\nSLURM_CONF={conf} exec {shutil.which(name, path=PATH)} "$@"\n')
            command.chmod(0o755)

    def _start_munge(self):
        folder = self.folder / "munge"
        key = folder / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        self._start("munged", "--foreground", *(f"--{option}={folder / name}" for option, name in files.items()))
        _wait_for((folder / "socket").exists)

    def _start(self, name, *arguments, program=None):
        """Start a daemon that dies with this process."""
        command = ["setpriv", "--pdeathsig", "KILL", shutil.which(program or name, path=PATH), *arguments]
        with (self.folder / f"{name}.out").open("a") as output:
            self._daemons[name] = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )

    def _node_states(self):
        """Return node -> state; nothing while the controller starts."""
        command = ["sinfo", "--noheader", "--Node", "--format=%N %T"]
        answer = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        return dict(line.split() for line in answer.stdout.splitlines())

    def _steps(self, node):
        """Yield the processes that run a node's jobs: each listens at a socket in the node's folder."""
        for process in psutil.process_iter():
            try:
                if process.name() == "slurmstepd" and any(
                    Path(connection.laddr).parent == self.folder / "spool" / node
                    for connection in process.net_connections(kind="unix")
                    if connection.laddr
                ):
                    yield process
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue

    def _clients(self):
        """Yield all that was started with this cluster's commands: a killed step leaves its children to nobody."""
        for process in psutil.process_iter():
            try:
                if process.environ().get("PATH", "").startswith(f"{self.folder}/bin"):
                    yield process
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue


def _kill(processes):
    """Kill processes and all that they started, before they can tell of the death of what they started."""
    for process in processes:
        try:
            tree = [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
        for member in tree:
            try:
                member.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(tree, timeout=1)


def _free_ports(count):
    """Return consecutive ports that nothing listens at, below those that the system gives to clients."""
    while True:
        ports = range(start := random.SystemRandom().randrange(20_000, 32_000), start + count)
        if all(_is_free(port) for port in ports):
            return ports


def _is_free(port):
    with socket.socket() as server:
        return server.connect_ex(("127.0.0.1", port)) != 0


def _wait_for(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s for {condition}")
        time.sleep(0.05)


def main():
    """Start a cluster, say how to reach it, and stop it when the input ends."""
    if names := missing():
        sys.exit(f"not installed: {', '.join(names)}")
    with Cluster() as cluster:
        print(f"export SLURM_CONF={cluster.environment['SLURM_CONF']} PATH={cluster.folder}/bin:$PATH", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
