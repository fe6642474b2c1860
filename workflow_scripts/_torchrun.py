"""Start training processes as torchrun does, and exit with the status of the first that failed, not with 1.

Started by srun on each of several nodes, it finds the others by itself. A signal is passed on to the processes, which
have ten minutes to end; the status is then 128 + the signal's.
"""

import os
import re
import subprocess
import sys

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main

os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "600")  # by default 30 s, too short for a large checkpoint


def rendezvous(step):
    """Return torchrun's options for one node of a Slurm step, of which `step` is the environment."""
    first = _scontrol("hostnames", step["SLURM_STEP_NODELIST"]).split()[0]
    # Its address, not its name: a node's name for Slurm need not be its host name.
    address = re.search(r"\bNodeAddr=(\S+)", _scontrol("node", first, "--oneliner"))[1]
    port = 20_000 + int(step["SLURM_JOB_ID"]) % 10_000  # its own for every job of a node
    nodes = f"--nnodes={step['SLURM_STEP_NUM_NODES']}"
    return [nodes, f"--node-rank={step['SLURM_NODEID']}", f"--master-addr={address}", f"--master-port={port}"]


def _scontrol(*arguments):
    return subprocess.run(["scontrol", "show", *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    if "--standalone" not in sys.argv:
        sys.argv[1:1] = rendezvous(os.environ)
    try:
        main()
    except ChildFailedError as error:
        sys.exit(max(error.get_first_failure()[1].exitcode, 1))  # a signal's is negative
    except SignalException as error:
        sys.exit(128 + error.sigval)
