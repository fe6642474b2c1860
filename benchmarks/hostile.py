"""Memory and time of the corpus of hostile scans: each case through ingest and segmentation, in a process of its own.

    python benchmarks/hostile.py [CASE...]

The case `full-size`, 2,000 slices of 512 x 512 voxels, is run only where it is named; it is written to the temporary
folder (1 GB). Memory is the peak of the process, its libraries included. Root reads every file: files that may not be
read are accepted there.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "hostile")]

_SPACING_MM = 5.0
_ENDS = {"": "accepted by both", "ingest": "refused on reading", "segment": "refused for the lungs"}
_MEASURE = """
import json, re, sys, time
from pathlib import Path
from drasclr_core.base.files import run_subject_stage
from drasclr_core.atlas.stages import ingest, segment
scan, folder = sys.argv[1], Path(sys.argv[2])
start = time.perf_counter()
record = run_subject_stage(
    folder / "i", "ingest", "case", [], lambda partial: ingest(scan, partial, spacing_mm=float(sys.argv[3]), axes="LPS")
)
if not record.excluded:
    record = run_subject_stage(
        folder / "s", "segment", "case", [], lambda partial: segment(folder / "i", scan, partial, weights=None)
    )
seconds = time.perf_counter() - start
peak_mb = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
print(json.dumps({"seconds": seconds, "peak_mb": peak_mb, "stage": record.excluded_by or ""}))
"""


def measure(scan: Path, folder: Path, spacing_mm: float) -> dict:
    """Return seconds, peak_mb and the stage that excluded the scan."""
    command = [sys.executable, "-c", _MEASURE, str(scan), str(folder), str(spacing_mm)]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(finished.stdout.splitlines()[-1])


def write_full_size(folder: Path) -> Path:
    """Write the clean scan as 2,000 slices of 512 x 512 voxels, not compressed."""
    import SimpleITK as sitk
    from hostile_case import clean_ct

    ct = clean_ct()
    size = (512, 512, 2000)
    spacing_mm = [
        count * step / wanted for count, step, wanted in zip(ct.GetSize(), ct.GetSpacing(), size, strict=True)
    ]
    spacing_mm[2] = 0.2
    large = sitk.Resample(
        ct, size, sitk.Transform(), sitk.sitkNearestNeighbor, ct.GetOrigin(), spacing_mm, ct.GetDirection(), -1000
    )
    sitk.WriteImage(large, str(folder / "scan.nii"))
    return folder / "scan.nii"


def main() -> None:
    """Measure and print a table, and below it the worst of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="names as in tests/hostile, or full-size")
    chosen = parser.parse_args().cases

    from hostile_page import SCANS

    scans = {name: (case.title, case.make, _SPACING_MM) for name, case in SCANS.items()}
    large = {"full-size": ("2,000 slices of 512 x 512", write_full_size, 1.0)}
    print("| case | excluded by | seconds | peak MB |\n|---|---|---|---|")
    found = {}
    with tempfile.TemporaryDirectory(prefix="drasclr-hostile-") as base:
        for name in chosen or scans:
            title, make, spacing_mm = {**scans, **large}[name]
            folder = Path(base) / name
            folder.mkdir()
            case = found[title] = measure(make(folder), folder, spacing_mm)
            print(f"| {title} | {case['stage']} | {case['seconds']:.2f} | {case['peak_mb']:.0f} |", flush=True)
            shutil.rmtree(folder)
    print()
    for stage, ended in _ENDS.items():
        cases = [case for case in found.values() if case["stage"] == stage]
        if cases:
            seconds, peak_mb = ([case[key] for case in cases] for key in ("seconds", "peak_mb"))
            took = f"{sum(seconds) / len(cases):.2f} s on average, {max(seconds):.2f} s at most"
            print(f"{ended}: {len(cases)}, {took}, {max(peak_mb):.0f} MB")


if __name__ == "__main__":
    main()
