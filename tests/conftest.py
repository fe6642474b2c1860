"""Settings that hold for every test."""

import os

# Two test processes on two cores must not fight over threads; set before numpy and torch start theirs.
os.environ.setdefault("OMP_NUM_THREADS", "1")
