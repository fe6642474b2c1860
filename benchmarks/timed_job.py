"""Run a workflow script by hand, as its log says, and tell what its process spent on imports.

    python benchmarks/timed_job.py workflow_scripts/NAME.py '<json>'

The last line printed is JSON: CPU-seconds until the script began (`start`), within imports, wherever they stand
(`imports`), and of all (`total`). It imports nothing itself that a script would pay for.
"""

import builtins
import json
import runpy
import sys
import time
from pathlib import Path

START_S = time.process_time()


class ImportClock:
    """Stands in for `__import__`, and adds up the CPU-seconds of the outermost imports."""

    def __init__(self):
        self.seconds = 0.0
        self._real, self._inside = builtins.__import__, False

    def __call__(self, *args, **kwargs):
        """Import as ever."""
        if self._inside:
            return self._real(*args, **kwargs)
        self._inside, begin = True, time.process_time()
        try:
            return self._real(*args, **kwargs)
        finally:
            self._inside = False
            self.seconds += time.process_time() - begin


def main(script, job):
    """Run a script with the JSON of a job; print the times."""
    sys.path.insert(0, str(Path(script).resolve().parent))  # as Python does for a script
    sys.argv = [script, job]
    clock = builtins.__import__ = ImportClock()
    runpy.run_path(script, run_name="__main__")
    print(json.dumps({"start": START_S, "imports": clock.seconds, "total": time.process_time()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
