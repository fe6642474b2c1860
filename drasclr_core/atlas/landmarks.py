"""The landmark grid of an atlas: patch corners, neighbours, location codes.

Landmark points are (x, y, z) in LPS millimetres of atlas space; masks are arrays (z, y, x) as SimpleITK gives them.
"""

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from drasclr_core.atlas.landmark_files import CONVENTIONS, Convention, read_grid
from drasclr_core.base.errors import InputError

# Squared distances this close, relatively, count as equal: rounding errors are near 1e-14, steps of a grid near 1e-3.
TIE_TOLERANCE = 1e-9


def grid_landmarks(
    mask: npt.NDArray[Any], patch_size: int = 32, step: int = 26, min_lung_fraction: float = 0.1
) -> npt.NDArray[np.int64]:
    """Return the corners of the grid's patches that hold enough lung.

    Parameters
    ----------
    mask : (Z, Y, X) array
        Lung mask, axes as stored; anything above 0 is lung.
    patch_size, step : int
        Edge of the cubic patch and distance between patch corners, in voxels. Along an axis of n voxels the corners
        are ``range(0, n - patch_size, step)``, as in the released code.
    min_lung_fraction : float
        A patch stays if strictly more than this fraction of its voxels is lung.

    Returns
    -------
    (L, 3) int64 array
        Corner voxel index (x, y, z) of each patch; x slowest, z fastest.

    Raises
    ------
    InputError
        If the mask is not a volume, a parameter is out of range, or no patch holds enough lung.

    References
    ----------
    Yu et al., "DrasCLR", Medical Image Analysis 2024, section 2.1.
    """
    if np.ndim(mask) != 3:
        raise InputError(f"The lung mask has {np.ndim(mask)} dimensions: give one 3D volume (z, y, x).")
    if patch_size < 1 or step < 1 or not 0 <= min_lung_fraction < 1:
        raise InputError(
            f"landmarks: patch_size {patch_size}, step {step}, min_lung_fraction {min_lung_fraction} are out of range: "
            "use at least 1 voxel for the first two and a fraction from 0 to below 1."
        )
    stops = [range(0, size - patch_size, step) for size in np.shape(mask)]
    lung_voxels = _box_sums(np.asarray(mask) > 0, stops, patch_size)
    kept = np.argwhere(lung_voxels.transpose(2, 1, 0) / patch_size**3 > min_lung_fraction)
    if len(kept) == 0:
        raise InputError(
            f"No patch of {patch_size} voxels on a grid of step {step} holds more than {min_lung_fraction:.0%} lung in "
            f"a mask of {np.shape(mask)} voxels: check the mask and its spacing, or use a smaller patch or fraction."
        )
    return (kept * step).astype(np.int64)


def _box_sums(lung: npt.NDArray[np.bool_], stops: list[range], patch_size: int) -> npt.NDArray[np.int64]:
    """Count the True voxels of the patch at each corner of the grid, one axis after the other."""
    sums: npt.NDArray[Any] = lung.view(np.uint8)
    for axis, corners in enumerate(stops):
        # A box sum is separable, so each axis shrinks to its corners before the next one is summed.
        shape = (*sums.shape[:axis], 0, *sums.shape[axis + 1 :])
        slabs = [
            sums.take(range(corner, corner + patch_size), axis).sum(axis, keepdims=True, dtype=np.int64)
            for corner in corners
        ]
        sums = np.concatenate(slabs, axis) if slabs else np.zeros(shape, np.int64)
    return sums


def neighbours(landmarks: npt.NDArray[Any], k: int) -> npt.NDArray[np.int64]:
    """Return the `k` landmarks closest to each landmark, nearest first.

    Ties go to the lower index. Distances tie when their squares differ by less than 1e-9 of their value, so the table
    depends neither on the platform nor on the unit or origin of the coordinates.

    Parameters
    ----------
    landmarks : (L, 3) array, integer or floating
        Landmarks in atlas space, in voxels or millimetres.
    k : int
        Neighbours per landmark, 1 <= k < L.

    Returns
    -------
    (L, k) int64 array
        Row l holds the neighbours of landmark l; l itself is never among them.

    Raises
    ------
    InputError
        If the shape is wrong, a coordinate is not finite, `k` is out of range, or two landmarks coincide.

    References
    ----------
    Yu et al., "DrasCLR", Medical Image Analysis 2024, section 2.4.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise InputError(f"Landmarks are an (L, 3) array of finite numbers, not one of shape {points.shape}.")
    count = len(points)
    if not 1 <= k < count:
        raise InputError(
            f"landmarks.neighbours is {k}, but the atlas has {count} landmarks: choose a value from 1 to {count - 1}."
        )
    return np.stack([_nearest(points, own, k) for own in range(count)])


def _nearest(points: npt.NDArray[np.float64], own: int, k: int) -> npt.NDArray[np.int64]:
    squared = ((points - points[own]) ** 2).sum(axis=1)
    order = np.argsort(squared, kind="stable")
    if squared[order[1]] == 0:
        twin = order[order != own][0]
        raise InputError(f"Landmarks {own} and {twin} coincide: rebuild the atlas grid or mend the landmark file.")
    # The rank rises only where the next distance is truly larger, so tied landmarks share one.
    rank = np.empty(len(points), np.int64)
    rank[order] = np.cumsum(np.diff(squared[order], prepend=0.0) > TIE_TOLERANCE * squared[order])
    rank[own] = len(points)
    return np.argsort(rank, kind="stable")[:k]


@dataclass(frozen=True)
class LandmarkGrid:
    """The landmarks of an atlas, as everything after registration needs them.

    Attributes
    ----------
    points_mm : (L, 3) float64
        Landmarks in atlas space, LPS: patch centres, or the patch corners for convention ``released``.
    codes : (L, 3) float64
        Location codes, -1 to 1 for ``centre``.
    neighbours : (L, k) int64
        The table of `neighbours`.
    patch_size : int
        Edge of the cubic patch in voxels.
    convention : "centre" or "released"
        What a landmark is and how patches are cut (`patches.patch_starts`).
    spacing_mm : float
        Voxel edge of the atlas and of the subjects' volumes.
    direction : (3,) of -1 or 1
        The atlas file's axes in LPS: (1, 1, 1) is LPS, (1, -1, 1) is LAS.
    code_low_mm, code_high_mm : (3,) float64
        Atlas coordinates at which the location code is -1 and 1.
    """

    points_mm: npt.NDArray[np.float64]
    codes: npt.NDArray[np.float64]
    neighbours: npt.NDArray[np.int64]
    patch_size: int
    convention: Convention
    spacing_mm: float
    direction: tuple[int, int, int]
    code_low_mm: npt.NDArray[np.float64]
    code_high_mm: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.points_mm)

    @classmethod
    def build(
        cls,
        mask: sitk.Image,
        *,
        patch_size: int = 32,
        step: int = 26,
        min_lung_fraction: float = 0.1,
        neighbours: int = 2,
        convention: Convention = "centre",
        corners: npt.NDArray[np.int64] | None = None,
    ) -> Self:
        """Lay the grid on an atlas lung mask.

        Parameters
        ----------
        mask : SimpleITK image
            Atlas lung mask, isotropic, its axes parallel to the patient's (LPS, LAS, ...).
        patch_size, step, min_lung_fraction
            As for `grid_landmarks`.
        neighbours : int
            Neighbours per landmark.
        convention : "centre" or "released"
            Whether a landmark is its patch's centre (continuous index corner + (patch_size - 1) / 2), or its corner,
            as the published weights expect.
        corners : (L, 3) int64 array, optional
            Corner voxel indices (x, y, z) to use verbatim instead of the mask's own (`landmark_files.load_corners`).

        Raises
        ------
        InputError
            If the mask or a parameter cannot be used, or a corner's patch leaves the atlas.
        """
        spacing_mm, direction = _atlas_geometry(mask)
        if convention not in CONVENTIONS:
            raise InputError(f"landmarks.convention is {convention!r}: choose one of {', '.join(CONVENTIONS)}.")
        if corners is None:
            corners = grid_landmarks(sitk.GetArrayViewFromImage(mask), patch_size, step, min_lung_fraction)
        _check_corners(corners, mask.GetSize(), patch_size)
        origin_mm, scale = np.array(mask.GetOrigin()), spacing_mm * np.array(direction)
        points_mm = origin_mm + scale * (corners + (patch_size - 1) / 2 * (convention == "centre"))
        if convention == "centre":
            low_mm, high_mm = points_mm.min(axis=0), points_mm.max(axis=0)
        else:
            low_mm, high_mm = origin_mm, origin_mm + scale * corners.max(axis=0)
        return cls(
            points_mm=points_mm,
            codes=_location_codes(points_mm, low_mm, high_mm),
            neighbours=_neighbour_table(corners, neighbours),
            patch_size=patch_size,
            convention=convention,
            spacing_mm=spacing_mm,
            direction=direction,
            code_low_mm=low_mm,
            code_high_mm=high_mm,
        )

    def code_of(self, points_mm: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Return the location codes of points in atlas space.

        Parameters
        ----------
        points_mm : (P, 3) array
            LPS millimetres in atlas space: patch centres for ``centre``, patch corners for ``released``. A subject's
            point comes here through the inverse of its transform.

        Returns
        -------
        (P, 3) float64 array
            Codes; outside [-1, 1] beyond the outermost landmarks.
        """
        return _location_codes(np.asarray(points_mm, np.float64), self.code_low_mm, self.code_high_mm)

    def to_json(self) -> dict[str, Any]:
        """Return the grid as plain JSON values; `from_json` gives it back bit for bit."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: np.asarray(value).tolist() for name, value in values.items()}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Return the grid that `to_json` described.

        Raises
        ------
        InputError
            If a key is missing or unknown, or a value has the wrong shape or range.
        """
        return cls(**read_grid(content))


# LandmarkGrid.build and .neighbours use the name for something else.
_neighbour_table = neighbours


def _location_codes(
    points_mm: npt.NDArray[np.float64], low_mm: npt.NDArray[np.float64], high_mm: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return 2 (c - lo) / (hi - lo) - 1, which for corners and lo = 0 is the released ``corner / max * 2 - 1``."""
    for axis, low, high in zip("xyz", low_mm, high_mm, strict=True):
        if low == high:
            raise InputError(
                f"All landmarks share one {axis} coordinate, so they have no location code: use a smaller "
                "landmarks.step or landmarks.patch_size, or a larger atlas."
            )
    return 2 * (points_mm - low_mm) / (high_mm - low_mm) - 1


def _atlas_geometry(mask: sitk.Image) -> tuple[float, tuple[int, int, int]]:
    """Return spacing (mm) and axis signs of an isotropic mask whose axes are parallel to the patient's."""
    spacing, direction = mask.GetSpacing(), np.reshape(mask.GetDirection(), (3, 3))
    signs = np.rint(np.diag(direction)).astype(int)
    if not np.allclose(direction, np.diag(signs), atol=1e-6):
        raise InputError(f"The atlas axes are not the patient's: direction {mask.GetDirection()}; reorient the mask.")
    if not np.allclose(spacing, spacing[0], rtol=1e-6):
        raise InputError(f"The atlas spacing {spacing} mm is not isotropic: resample the mask.")
    return float(spacing[0]), (int(signs[0]), int(signs[1]), int(signs[2]))


def _check_corners(corners: npt.NDArray[np.int64], size: tuple[int, ...], patch_size: int) -> None:
    outside = ((corners < 0) | (corners + patch_size > np.array(size))).any(axis=1)
    if outside.any():
        first = corners[outside][0].tolist()
        raise InputError(
            f"{outside.sum()} landmark corners, {first} first, have a patch of {patch_size} voxels outside the atlas "
            f"of {size} voxels (x, y, z): the landmark file belongs to another atlas or patch size."
        )
