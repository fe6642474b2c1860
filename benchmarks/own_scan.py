"""Time and memory of `drasclr embed` and `drasclr detect` on one scan, and how far a phantom's mask is the workflow's.

    python benchmarks/own_scan.py results/phantom/healthy/runs/drasclr SCAN
    python benchmarks/own_scan.py results/phantom/healthy/runs/drasclr --phantom phantom-018

Each command is a process of its own, from its start to its end. Of a phantom of the finished workflow, `detect` is
given the one detector of each subtype that has not seen it, as the workflow's mask was made.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from drasclr_core.base.files import read_json, read_record, write_json  # noqa: E402
from drasclr_core.cohort.boxes import SUBTYPES  # noqa: E402
from drasclr_core.detect.masks import read_probability  # noqa: E402
from drasclr_core.model.files import DETECTOR  # noqa: E402


def measured(*arguments: object) -> tuple[float, float, float]:
    """Run a command of `drasclr`; return CPU-seconds, wall seconds and peak MB."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", "from drasclr_core.cli.main import app; app()", *map(str, arguments)],
        cwd=ROOT,
        stdout=sys.stderr,
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{arguments[0]} failed")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - start, usage.ru_maxrss / 1024


def detectors_of_fold(run: Path, fold: int, folder: Path) -> Path:
    """Copy the detectors that have not seen the subjects of a fold; return the folder."""
    for subtype in SUBTYPES:
        (folder / subtype).mkdir(parents=True)
        name = f"fold-{fold}.safetensors"
        shutil.copyfile(run / "detector" / subtype / name, folder / subtype / name)
        said = read_json(run / "detector" / subtype / DETECTOR)
        write_json(folder / subtype / DETECTOR, {**said, "trained_folds": [fold]})
    return folder


def compare_with_workflow(run: Path, phantom: str, folder: Path) -> None:
    """Print how far the probabilities of a phantom are from those of the workflow's mask, on the scan's grid."""
    mask = run / "dense" / phantom
    scan = run.parents[2] / "phantom" / phantom / "ct.nii.gz"
    detectors = detectors_of_fold(run, read_record(mask).metrics["fold"], folder / "detectors")
    common = (scan, "--model", run / "model", "--detectors", detectors, "-o")
    print("| subtype | largest difference | mean difference | voxels above one half in both, of those in either |")
    print("|---|---|---|---|")
    for subtype in SUBTYPES:
        target = folder / f"{subtype}.nii.gz"
        measured("detect", *common, target, "--probability", subtype)
        ours = sitk.ReadImage(str(target))
        theirs = sitk.Resample(read_probability(mask, subtype), ours, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
        a, b = sitk.GetArrayFromImage(ours), sitk.GetArrayFromImage(theirs)
        inside = (a > 0) | (b > 0)
        difference = np.abs(a - b)[inside]
        both, either = ((a >= 0.5) & (b >= 0.5)).sum(), ((a >= 0.5) | (b >= 0.5)).sum()
        print(f"| {subtype} | {difference.max():.4f} | {difference.mean():.5f} | {both} of {either} |")


def main() -> None:
    """Measure, or compare, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a trained run, with its detectors")
    parser.add_argument("scan", type=Path, nargs="?")
    parser.add_argument("--phantom", help="participant of the run's cohort")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="drasclr-own-scan-") as name:
        folder, run = Path(name), chosen.run.resolve()
        if chosen.phantom:
            compare_with_workflow(run, chosen.phantom, folder)
        if chosen.scan:
            print("| command | CPU-s | wall s | peak MB |\n|---|---|---|---|")
            for command, target in (("embed", "f.parquet"), ("detect", "mask.nii.gz")):
                cells = measured(command, chosen.scan.resolve(), "--model", run / "model", "-o", folder / target)
                print("| {} | {:.0f} | {:.0f} | {:.0f} |".format(command, *cells), flush=True)


if __name__ == "__main__":
    main()
