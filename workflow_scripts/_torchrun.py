"""Start training processes as torchrun does, and exit with the status of the first that failed, not with 1.

A signal is passed on to the processes, which torchrun gives 30 seconds to end; the status is then 128 + the signal's.
"""

import sys

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main

if __name__ == "__main__":
    try:
        main()
    except ChildFailedError as error:
        sys.exit(max(error.get_first_failure()[1].exitcode, 1))  # a signal's is negative
    except SignalException as error:
        sys.exit(128 + error.sigval)
