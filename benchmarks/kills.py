"""Kill trainings at random moments (kill -9) and start them again: do they end with the bytes of an undisturbed one.

    python benchmarks/kills.py [--kills 20] [--seed 0]

Each training runs through workflow_scripts/pretrain_encoder.py in a folder of its own, on a bank of noise, with a
checkpoint every other step or so. Prints a Markdown table; docs/benchmarks.md holds the last one. Exits with 1 if a
training ends otherwise.
"""

import argparse
import csv
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from side_by_side import write_bank

from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.scan.images import write_image

SCRIPT = Path(__file__).parents[1] / "workflow_scripts/pretrain_encoder.py"
SUBJECTS = 12
SETTINGS = {
    "epochs": 2,  # of 24 steps
    "batch_size": 4,
    "groups": 2,
    "queue_size": 16,
    "feature_dim": 16,
    "num_experts": 2,
    "cpu_threads": 1,
    "device": "cpu",
    "log_steps": 3,
    "checkpoint_minutes": 0.004,
}
CLOCKED = {"patches_per_second", "waiting_share"}


def make_bank(folder, seed):
    """Write a bank of noise at eight landmarks, and the box that is their atlas."""
    mask = sitk.GetImageFromArray(np.ones((64, 64, 64), np.uint8))
    grid = LandmarkGrid.build(mask, patch_size=32, step=26, min_lung_fraction=0.1, neighbours=3)
    write_bank(folder, grid, SUBJECTS, seed)
    write_image(mask, folder / "atlas.nii.gz")


@dataclass
class Training:
    """A training of its own in a folder, on the bank of `bank`."""

    folder: Path
    bank: Path

    def start(self):
        """Start it; it goes on where it was interrupted."""
        job = {
            "input": {"bank": str(self.bank / "bank.zarr"), "atlas": str(self.bank / "atlas.nii.gz")},
            "output": {"model": "model"},
            "params": {"settings": SETTINGS, "provenance": {}},
        }
        command = [sys.executable, str(SCRIPT), json.dumps(job)]
        return subprocess.Popen(command, cwd=self.folder, stderr=subprocess.PIPE, text=True)

    def wait_for_loop(self, process):
        """Return when the first step is about to be taken."""
        while process.poll() is None and not list(self.folder.glob("work/*/metrics.csv")):
            time.sleep(0.002)

    def kill_after(self, seconds):
        """Run it for `seconds` of its loop, then kill it; return whether it was still running."""
        process = self.start()
        self.wait_for_loop(process)
        time.sleep(seconds)
        process.kill()
        process.communicate()
        return process.returncode == -9

    def finish(self):
        """Run it to the end; return the step it went on from, and the seconds from its first step to its end."""
        process = self.start()
        self.wait_for_loop(process)
        begin = time.monotonic()
        log = process.communicate()[1]
        if process.returncode:
            sys.exit(log)
        resumed = re.search(r"resumed at step (\d+)", log)
        return int(resumed[1]) if resumed else 0, time.monotonic() - begin

    def result(self):
        """Return the encoder's bytes, and all metrics but those of the clock."""
        with (self.folder / "model/metrics.csv").open() as file:
            rows = [{key: value for key, value in row.items() if key not in CLOCKED} for row in csv.DictReader(file)]
        return (self.folder / "model/encoder.safetensors").read_bytes(), rows


def new_training(root):
    """Return a training that has not begun."""
    folder = root / "training"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return Training(folder, root)


def kill_and_finish(root, longest, rng):
    """Kill a training at a random moment and finish it; return the moment, the step it went on from, its result."""
    while True:
        training = new_training(root)
        seconds = rng.uniform(0, longest)
        if training.kill_after(seconds):
            return seconds, training.finish()[0], training.result()


def main(kills, seed):
    """Print the table; return whether every training ended as the undisturbed one."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        make_bank(root, seed)
        undisturbed = new_training(root)
        longest = undisturbed.finish()[1]
        expected = undisturbed.result()
        print(f"{kills} kills, seed {seed}, of a training of {expected[1][-1]['step']} steps; {platform.platform()}\n")
        print("| killed after (s of training) | went on from step | ended the same |\n|---|---|---|")
        same = 0
        for _ in range(kills):
            seconds, step, result = kill_and_finish(root, longest, rng)
            same += result == expected
            print(f"| {seconds:.2f} | {step} | {'yes' if result == expected else 'NO'} |", flush=True)
    print(f"\n{same} of {kills} ended with the bytes of the undisturbed training.")
    return same == kills


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    sys.exit(not main(**vars(parser.parse_args())))
