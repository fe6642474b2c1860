"""How far the features of a scan move with the way in which it is stored, and with the way in which the patient lies.

    python benchmarks/agreement.py results/phantom/healthy/runs/drasclr SCAN [--others SCAN...]

The scan is written anew in each way and embedded as `drasclr embed` does it. The unit is the distance between two
people: of the run's own features, the median over its pairs of subjects; with `--others`, of the scan to each of those.
Distances are between the features of all landmarks, (L, D), as one vector; in the last column between the means.
"""

import argparse
import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import zarr

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from volumes import image_like, turned, write_dicom  # noqa: E402 - of the tests

from drasclr_core.base.errors import QualityError  # noqa: E402
from drasclr_core.model.embed_scan import ScanFeatures, ScanReader  # noqa: E402
from drasclr_core.model.folder import load_model  # noqa: E402
from drasclr_core.scan.images import read_ct  # noqa: E402

Change = Callable[[sitk.Image], sitk.Image]
FILE = "scan.nrrd"  # its header is in double precision


def flipped(axes: str) -> Change:
    """Return the change that stores some axes the other way round, the header saying so."""
    return lambda ct: sitk.Flip(ct, [axis in axes for axis in "xyz"])


def cropped(ct: sitk.Image) -> sitk.Image:
    """Return the scan without its outermost voxels: the model's voxels then lie elsewhere between the scan's."""
    return ct[1:-1, 1:-1, 1:-1]


def on_turned_grid(degrees: float) -> Change:
    """Return the change that resamples a scan onto turned axes, large enough for all of it; the patient stays."""

    def change(ct: sitk.Image) -> sitk.Image:
        margin = [count // 8 for count in ct.GetSize()]
        padded = sitk.ConstantPad(ct, margin, margin, -1024)
        return sitk.Resample(ct, _turned(padded, degrees, 0), sitk.Transform(), sitk.sitkBSpline, -1024, sitk.sitkInt16)

    return change


def turned_patient(degrees: float, axis: int) -> Change:
    """Return the change of the header alone that turns the patient about the scan's middle."""
    return lambda ct: _turned(ct, degrees, axis)


def odd(ct: sitk.Image) -> sitk.Image:
    """Return the scan with a geometry that single precision cannot hold."""
    spacing_mm = np.round(np.multiply(ct.GetSpacing(), 0.9722221), 7)
    return image_like(ct, _array(ct), Spacing=spacing_mm.tolist(), Origin=(-170.3417969, -151.2345678, 12.3456789))


PLAIN: dict[str, tuple[Change, str]] = {
    "NIfTI": (flipped(""), "scan.nii.gz"),
    "MetaImage": (flipped(""), "scan.mha"),
    "DICOM series": (flipped(""), "series"),
    "x flipped": (flipped("x"), FILE),
    "slices from top to bottom, NIfTI": (flipped("z"), "scan.nii.gz"),
    "all axes flipped": (flipped("xyz"), FILE),
    "sagittal slices": (lambda ct: sitk.PermuteAxes(ct, (1, 2, 0)), FILE),
    "coronal slices, two axes flipped, NIfTI": (lambda ct: flipped("xz")(sitk.PermuteAxes(ct, (0, 2, 1))), "scan.nii"),
}
ODD: dict[str, tuple[Change, str]] = {
    "odd geometry, DICOM": (odd, "series"),
    "odd geometry, NIfTI (header in single precision)": (odd, "scan.nii.gz"),
}
MOVED: dict[str, tuple[Change, str]] = {
    "the outermost voxels cropped": (cropped, FILE),
    "stored on axes turned by 12 degrees": (on_turned_grid(12), FILE),
    **{
        f"patient turned by {degrees} degrees about {name}": (turned_patient(degrees, axis), FILE)
        for degrees, axis, name in [
            (5, 2, "the long axis"),
            (10, 2, "the long axis"),
            (5, 0, "the left-right axis"),
            (10, 0, "the left-right axis"),
            (10, 1, "the front-back axis"),
            (90, 2, "the long axis"),
            (180, 2, "the long axis"),
        ]
    },
}


def stored(ct: sitk.Image, way: tuple[Change, str], folder: Path) -> Path:
    """Write a scan in one way into a new folder; return its path."""
    folder.mkdir()
    change, name = way
    if "." in name:
        sitk.WriteImage(change(ct), str(folder / name))
    else:
        write_dicom(folder / name, change(ct))
    return folder / name


def comparison(found: ScanFeatures, clean: ScanFeatures, people: tuple[float, float]) -> list[str]:
    """Return the cells of a row."""
    difference = found.landmarks - clean.landmarks
    norms = np.linalg.norm(found.landmarks, axis=1) * np.linalg.norm(clean.landmarks, axis=1)
    cosines = (found.landmarks * clean.landmarks).sum(axis=1) / norms
    distance, distance_of_means = np.linalg.norm(difference), np.linalg.norm(found.mean - clean.mean)
    return [
        f"{np.abs(difference).max():.2g}",
        f"{distance / np.linalg.norm(clean.landmarks):.2g}",
        f"{cosines.mean():.4f}",
        f"{distance / people[0]:.1%}",
        f"{distance_of_means / people[1]:.1%}",
    ]


def between_subjects(run: Path) -> tuple[float, float]:
    """Return the median distance of two subjects of a run: of the features of all landmarks, and of the means."""
    store = zarr.open_group(run / "features" / "landmarks.zarr", mode="r")
    features, valid = store["features"][:].astype(np.float64), store["valid"][:]
    means = (features * valid[..., None]).sum(axis=1) / valid.sum(axis=1)[:, None]
    return _median_distance(features.reshape(len(features), -1)), _median_distance(means)


def rows(reader: ScanReader, ct: sitk.Image, people: tuple[float, float]) -> Iterator[list[str]]:
    """Yield a row per way of storing the scan."""
    with tempfile.TemporaryDirectory(prefix="drasclr-agreement-") as name:
        base, number = Path(name), itertools.count()

        def embedded(way: tuple[Change, str]) -> ScanFeatures:
            return reader.embed(stored(ct, way, base / str(next(number))), lambda step: None)

        for reference, ways in (((flipped(""), FILE), PLAIN), ((odd, FILE), ODD), ((flipped(""), FILE), MOVED)):
            clean = embedded(reference)
            for title, way in ways.items():
                try:
                    found = embedded(way)
                except QualityError as error:
                    yield [title, f"refused: {error}", "", "", "", "", ""]
                else:
                    yield [title, f"{found.metrics['register']['dice']:.3f}", *comparison(found, clean, people)]


def _turned(image: sitk.Image, degrees: float, axis: int) -> sitk.Image:
    """Return the image with its axes turned about its middle."""
    turn = np.reshape(turned(degrees, axis), (3, 3))
    middle = np.array(image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()]))
    direction = turn @ np.reshape(image.GetDirection(), (3, 3))
    origin = turn @ (np.array(image.GetOrigin()) - middle) + middle
    return image_like(image, _array(image), Direction=direction.ravel().tolist(), Origin=origin.tolist())


def _array(image: sitk.Image) -> npt.NDArray[np.int16]:
    return sitk.GetArrayFromImage(image)


def _median_distance(vectors: npt.NDArray[np.float64]) -> float:
    return float(np.median([np.linalg.norm(a - b) for a, b in itertools.combinations(vectors, 2)]))


def main() -> None:
    """Embed the scan in all ways and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a trained run")
    parser.add_argument("scan", type=Path)
    parser.add_argument("--others", type=Path, nargs="*", default=[], help="scans of other people")
    chosen = parser.parse_args()

    reader = ScanReader.of(load_model(chosen.run / "model"))
    reader.settings["registration"] = {**reader.settings["registration"], "min_dice": 0.5}  # whoever lies askew as well
    ct = read_ct(chosen.scan)
    ct.SetOrigin(np.round(ct.GetOrigin(), 4).tolist())  # DICOM holds 16 characters a number
    people = between_subjects(chosen.run)
    if chosen.others:
        own = reader.embed(chosen.scan, lambda step: None)
        others = [reader.embed(path, lambda step: None) for path in chosen.others]
        people = (
            float(np.median([np.linalg.norm(own.landmarks - other.landmarks) for other in others])),
            float(np.median([np.linalg.norm(own.mean - other.mean) for other in others])),
        )
    print(f"between two people: {people[0]:.3g} (means: {people[1]:.3g})\n")
    print("| the same scan | Dice | largest difference | relative | cosine | of two people's | means |")
    print("|---|---|---|---|---|---|---|")
    for row in rows(reader, ct, people):
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
