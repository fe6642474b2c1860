"""A simple thorax of ellipsoids for tests of reading and segmentation, and the same as a DICOM series."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

SIZE_MM = (300.0, 220.0, 260.0)
TISSUE, LUNG, AIR, BONE, FOAM = 40, -860, -1000, 600, -930


@dataclass(frozen=True)
class Thorax:
    ct: sitk.Image
    lungs: np.ndarray  # (z, y, x): 1 right, 2 left


def thorax(
    spacing_mm=(3.0, 3.0, 3.0), *, touching=False, left_lung=True, table=None, lung_hu=LUNG, noise_hu=10.0, seed=0
):
    """Axes LPS; `table`: None, "apart" or "touching", a foam core in a thin shell under the back."""
    count = [round(size / step) for size, step in zip(SIZE_MM, spacing_mm, strict=True)]
    z, y, x = np.meshgrid(
        *(np.arange(n) * step for n, step in zip(count[::-1], spacing_mm[::-1], strict=True)), indexing="ij"
    )

    def ellipsoid(centre_mm, radius_mm):
        squares = ((c - m) / r for c, m, r in zip((x, y, z), centre_mm, radius_mm, strict=True))
        return sum(square**2 for square in squares) <= 1

    shift = 12 if touching else 0
    body = ((x - 150) / 135) ** 2 + ((y - 95) / 85) ** 2 <= 1
    right = ellipsoid((90 + shift, 90, 120), (50, 62, 100))
    left = ellipsoid((210 - shift, 90, 120), (50, 62, 100)) & left_lung
    left &= ~(right & (x <= 150)) & (x > 150)
    right &= x <= 150
    trachea = ((x - 150) ** 2 + (y - 90) ** 2 <= 9**2) & (z > 150)
    wall = ((x - 150) ** 2 + (y - 90) ** 2 <= 15**2) & (z > 140)
    to_bronchus_mm = np.hypot(z - 155 + 0.3 * np.abs(x - 150), y - 90)  # from the carina down into both lungs
    bronchi = (to_bronchus_mm <= 6) & (np.abs(x - 150) < 30)
    wall |= (to_bronchus_mm <= 10) & (np.abs(x - 150) < 25)
    spine = (x - 150) ** 2 + (y - 160) ** 2 <= 15**2
    hu = np.full(x.shape, AIR, dtype=np.float64)
    if table:
        top = 182 if table == "apart" else 174
        inside = (np.abs(x - 150) < 120) & (y > top) & (y < top + 36)
        core = (np.abs(x - 150) < 114) & (y > top + 6) & (y < top + 30)
        off_channel_mm = np.hypot(x - 150, y - top - 18)  # for cables: as round and central as a trachea
        hu[inside] = -100
        hu[core] = FOAM
        hu[off_channel_mm <= 15] = -100
        hu[off_channel_mm <= 9] = AIR
    hu[body] = TISSUE
    hu[spine & body] = BONE
    hu[(right | left) & ~wall] = lung_hu
    hu[trachea | bronchi] = AIR
    hu += np.random.default_rng(seed).normal(0, noise_hu, hu.shape)
    ct = sitk.GetImageFromArray(np.clip(np.rint(hu), -1024, 3071).astype(np.int16))
    ct.SetSpacing(spacing_mm)
    ct.SetOrigin((-150.0, -110.0, 20.0))
    lungs = (np.where(right, 1, 0) + np.where(left, 2, 0)) * ~wall
    return Thorax(ct, lungs.astype(np.uint8))


def array_of(image):
    return sitk.GetArrayFromImage(image)


def image_like(ct, array, **changes):
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(ct)
    for name, value in changes.items():
        getattr(image, f"Set{name}")(value)
    return image


def saved(image, path, compress=True):
    sitk.WriteImage(image, str(path), compress)
    return path


def turned(degrees, axis=0):
    turn = sitk.Euler3DTransform()
    turn.SetRotation(*(np.radians(degrees) if i == axis else 0.0 for i in range(3)))
    return turn.GetMatrix()


def write_dicom(folder: Path, ct: sitk.Image, series="1", prefix="slice", **changes):
    """Write an axial series as signed 16 bit with intercept -1024; `changes` overrides attributes of every slice."""
    import pydicom
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    folder.mkdir(parents=True, exist_ok=True)
    array = sitk.GetArrayFromImage(ct)
    paths = []
    for index, plane in enumerate(array):
        meta = pydicom.dataset.FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = f"1.2.3.{series}.{index + 1}"
        item = pydicom.dataset.FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        item.SOPClassUID = CTImageStorage
        item.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        item.SeriesInstanceUID = f"1.2.3.{series}"
        item.StudyInstanceUID = "1.2.3"
        item.PatientName = "MARKED^NAME"
        item.PatientID = "MARKED-ID"
        item.InstitutionName = "MARKED HOSPITAL"
        item.Modality = "CT"
        item.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        item.InstanceNumber = str(len(array) - index)  # the wrong order, as in life
        item.Rows, item.Columns = plane.shape
        item.SliceThickness = 7.0  # not the distance between slices
        item.PixelSpacing = [ct.GetSpacing()[1], ct.GetSpacing()[0]]
        item.ImagePositionPatient = list(ct.TransformIndexToPhysicalPoint((0, 0, index)))
        direction = np.array(ct.GetDirection()).reshape(3, 3)
        item.ImageOrientationPatient = [*direction[:, 0], *direction[:, 1]]
        item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
        item.BitsAllocated, item.BitsStored, item.HighBit, item.PixelRepresentation = 16, 16, 15, 1
        item.RescaleIntercept, item.RescaleSlope = "-1024", "1"
        item.PixelData = (plane.astype(np.int32) + 1024).astype(np.int16).tobytes()
        for name, value in changes.items():
            setattr(item, name, value)
        path = folder / f"{prefix}{index:03d}.dcm"
        item.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths
