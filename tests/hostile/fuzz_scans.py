"""Mutate small scans of every format, byte by byte, and compare what `read_ct` accepts with independent readers.

    python tests/hostile/fuzz_scans.py --mutations 2000

A mutant may be refused. An accepted one must have the voxels and the geometry that nibabel, pydicom or a plain parser
of the text headers finds in the same bytes. A reader that crashes, or takes longer than ten seconds, fails.
"""

import argparse
import gzip
import re
import shutil
import sys
import tempfile
import zlib
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import nibabel
import numpy as np
import pydicom

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from volumes import SIZE_MM, saved, thorax, write_dicom

from drasclr_core.base.errors import InputError
from drasclr_core.scan.images import read_ct

FORMATS = ("scan.nii", "scan.nii.gz", "scan.nrrd", "packed.nrrd", "scan.mha", "packed.mha", "dicom")
SPACING_MM = (9.0, 9.0, 9.0)  # a header is a fair part of so small a file
LIMIT_S = 10
TOKENS = (b"-1", b"0", b"nan", b"inf", b"1e308", b"%s", b"%n", b"../x", b"/dev/zero", b"\0", b"\n", b"=", b":", b"(")


def write(folder, name):
    ct = thorax(SPACING_MM).ct
    if name == "dicom":
        write_dicom(folder / name, ct)
    else:
        saved(ct, folder / name, compress=name.startswith("packed") or name.endswith(".gz"))
    return folder / name


def mutate(content, rng, header):
    """Return the bytes with one to three changes, most of them in the header."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        reach = header if rng.random() < 0.8 else len(content)
        at, kind = int(rng.integers(0, max(min(reach, len(content)), 1))), rng.integers(0, 5)
        if kind == 0:
            content[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            content[at] = int(rng.integers(0, 256))
        elif kind == 2:
            token = TOKENS[rng.integers(0, len(TOKENS))]
            content[at : at + (len(token) if rng.random() < 0.5 else 0)] = token
        elif kind == 3:
            del content[at : at + int(rng.integers(1, 9))]
        else:
            content[at:at] = content[at : at + int(rng.integers(1, 40))]
    return bytes(content)


def header_bytes(name, content):
    if name == "dicom":
        return 1200
    if "nii" in name:
        return 352
    return (content.index(b"\n\n") if "nrrd" in name else content.index(b"LOCAL")) + 8


def by_nibabel(path):
    image = nibabel.load(path)
    values = np.asanyarray(image.dataobj)
    affine = np.diag([-1.0, -1, 1, 1]) @ image.affine
    return values.T, affine


def by_hand(path):
    """Parse a NRRD or MetaImage header plainly."""
    content = path.read_bytes()
    nrrd = path.name.endswith("nrrd")
    head, _, voxels = content.partition(b"\n\n") if nrrd else content.partition(b"LOCAL\n")
    lines = [line for line in head.decode("latin-1").splitlines() if not line.startswith("#")]
    pairs = (re.split(r":(?!=)" if nrrd else "=", line, maxsplit=1) for line in lines)
    fields = {pair[0].strip().lower() if nrrd else pair[0].strip(): pair[1].strip() for pair in pairs if len(pair) == 2}

    def numbers(name):
        return [float(word) for word in re.split(r"[^-+.\deE]+", fields[name]) if word]

    kinds = {"short": "i2", "MET_SHORT": "i2", "int16": "i2", "ushort": "u2", "MET_USHORT": "u2", "uint16": "u2"}
    kind = kinds[fields["type" if nrrd else "ElementType"]]
    swapped = fields.get("endian") == "big" or fields.get("BinaryDataByteOrderMSB", "False") in ("True", "1", "true")
    packed = fields.get("encoding", "raw") != "raw" or fields.get("CompressedData", "False") in ("True", "1", "true")
    if packed:
        voxels = gzip.decompress(voxels) if nrrd else zlib.decompress(voxels)
    size = [int(value) for value in numbers("sizes" if nrrd else "DimSize")]
    values = np.frombuffer(voxels, f"{'>' if swapped else '<'}{kind}").reshape(size[::-1])
    affine = np.eye(4)
    if nrrd:
        signs = {"right": (-1, -1, 1), "left-a": (1, -1, 1), "left-p": (1, 1, 1), "LPS": (1, 1, 1)}
        sign = next(value for start, value in signs.items() if fields["space"].startswith(start))
        affine[:3, :3] = np.reshape(numbers("space directions"), (3, 3)).T * np.reshape(sign, (3, 1))
        affine[:3, 3] = np.multiply(sign, numbers("space origin") if "space origin" in fields else 0)
    else:
        axes = next(name for name in ("TransformMatrix", "Rotation", "Orientation") if name in fields)
        place = next((name for name in ("Offset", "Position", "Origin") if name in fields), None)
        affine[:3, :3] = np.reshape(numbers(axes), (3, 3)).T * numbers("ElementSpacing")
        affine[:3, 3] = numbers(place) if place else 0
    return values, affine


def by_pydicom(folder):
    paths = sorted(folder.iterdir())
    items = [pydicom.dcmread(path, force=True) for path in paths]
    whole = [item for item in items if item.get("Modality") == "CT"]
    planes = [in_hu(item, path) for item, path in zip(items, paths, strict=True)]
    first, last = whole[0], whole[-1]
    axes = np.reshape(list(map(float, first.ImageOrientationPatient)), (2, 3))
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = axes[0] * float(first.PixelSpacing[1]), axes[1] * float(first.PixelSpacing[0])
    origin = np.array(list(map(float, first.ImagePositionPatient)))
    affine[:3, 2] = (np.array(list(map(float, last.ImagePositionPatient))) - origin) / (len(items) - 1)
    affine[:3, 3] = origin
    return np.array(planes), affine


def in_hu(item, path):
    """Return the voxels of a slice; where its mutation keeps pydicom from it, its last bytes, as they were written."""
    try:
        values = item.pixel_array.astype(np.float64)
        return values * float(item.get("RescaleSlope", 1)) + float(item.get("RescaleIntercept", 0))
    except (AttributeError, NotImplementedError, KeyError, ValueError):
        shape = [round(count) for count in (SIZE_MM[1] / SPACING_MM[1], SIZE_MM[0] / SPACING_MM[0])]
        return np.frombuffer(path.read_bytes()[-2 * shape[0] * shape[1] :], "<i2").reshape(shape) - 1024.0


def judge(path):
    """Return how a mutant ended: refused, accepted, or in what it differs from the independent reader."""
    import SimpleITK as sitk

    try:
        image = read_ct(path)
    except InputError:
        return "refused"
    except Exception as error:  # what the product may not do
        return f"raised {type(error).__name__}: {error}"
    reader = by_pydicom if path.is_dir() else by_nibabel if ".nii" in path.name else by_hand
    try:
        values, affine = reader(path)
    except Exception as error:
        return f"accepted, unlike {reader.__name__}: {type(error).__name__}: {error}"
    found = sitk.GetArrayFromImage(image)
    expected = np.clip(np.rint(values.astype(np.float64)), -1024, 3071)
    if found.shape != expected.shape or not np.array_equal(found, expected):
        return f"other voxels than {reader.__name__}"
    axes = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    if not (np.allclose(axes, affine[:3, :3], atol=0.02) and np.allclose(image.GetOrigin(), affine[:3, 3], atol=0.01)):
        return f"another geometry than {reader.__name__}"
    return "accepted"


def write_mutant(whole, target, rng):
    """Write a mutant of a whole scan; of a series one slice is changed."""
    if whole.is_dir():
        shutil.copytree(whole, target)
        path = sorted(target.iterdir())[rng.integers(0, len(list(target.iterdir())))]
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(whole, target)
        path = target
    content = path.read_bytes()
    path.write_bytes(mutate(content, rng, header_bytes(whole.name, content)))
    return target


def fuzz(name, mutations, seed, keep=None):
    """Return how many mutants of a format ended how; `keep` is a folder for those that ended badly."""
    ends = Counter()
    with tempfile.TemporaryDirectory() as place:
        whole = write(Path(place), name)
        pool = ProcessPoolExecutor(1)
        for number in range(mutations):
            rng = np.random.default_rng([seed, number])
            target = write_mutant(whole, Path(place, "mutants", str(number), name), rng)
            try:
                end = pool.submit(judge, target).result(timeout=LIMIT_S)
            except BrokenProcessPool:
                end, pool = "crashed", ProcessPoolExecutor(1)
            except TimeoutError:
                end = f"took longer than {LIMIT_S} s"
                for process in list(pool._processes.values()):
                    process.kill()
                pool = ProcessPoolExecutor(1)
            ends[end.partition(":")[0] if end.startswith("accepted, unlike") else end] += 1
            if end not in ("refused", "accepted") and keep:
                kept = keep / f"{name}-{number}"
                shutil.copytree(target.parent, kept, dirs_exist_ok=True)
                print(kept, end, flush=True)
            shutil.rmtree(target.parent)
        pool.shutdown()
    return ends


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=2000)
    parser.add_argument("--formats", nargs="*", default=FORMATS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the mutants that ended badly")
    told = parser.parse_args()
    for name in told.formats:
        print(name, dict(fuzz(name, told.mutations, told.seed, told.keep)), flush=True)


if __name__ == "__main__":
    main()
