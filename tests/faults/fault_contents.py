"""What two folders of results have in common if nothing went wrong: all of it but the clock's."""

import csv
import hashlib
import io
import json
import logging

CLOCKED = {"patches_per_second", "waiting_share"}


def contents(results):
    """Return what must be the same in every run: path -> content of every file under a final name.

    Files are compared by their bytes, but for three kinds that hold times: of ``record.json`` all but ``seconds``, of
    ``metrics.csv`` all but the columns of the clock, and of TensorBoard's events, of which a training that was broken
    off has several files, the values of each step.
    """
    found = {}
    for path in results.rglob("*"):
        name = path.relative_to(results)
        if not path.is_file() or any(part.startswith(".") for part in name.parts):
            continue
        if path.parent.name == "tensorboard":
            found[name.parent.as_posix()] = _scalars(path.parent)
        else:
            found[name.as_posix()] = _content(path)
    return found


def _content(path):
    content = path.read_bytes()
    try:
        if path.name == "record.json":
            return {key: value for key, value in json.loads(content).items() if key != "seconds"}
        if path.name == "metrics.csv":
            rows = csv.DictReader(io.StringIO(content.decode()))
            return [{key: value for key, value in row.items() if key not in CLOCKED} for row in rows]
    except ValueError:
        return "cannot be read"
    return hashlib.sha256(content).hexdigest()


def _scalars(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it warns of the values that a resumed training repeats
    board = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    names = sorted(set(board.Tags()["scalars"]) - CLOCKED)
    return {name: [(event.step, event.value) for event in board.Scalars(name)] for name in names}
