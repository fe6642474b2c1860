"""Start training processes as torchrun does, and exit with the status of the first that failed, not with 1."""

import sys

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main

if __name__ == "__main__":
    try:
        main()
    except ChildFailedError as error:
        sys.exit(max(error.get_first_failure()[1].exitcode, 1))  # a signal's is negative
