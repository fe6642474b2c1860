"""Flat views through a volume, laid in physical space: what the axes of its array are makes no difference.

Points are (x, y, z) in LPS millimetres; views are arrays (row, column), seen as radiologists do: the patient's right on
the left of a coronal or axial view, the front on the left of a sagittal one.
"""

from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

View = Literal["coronal", "axial", "sagittal"]
Point = tuple[float, float, float]

VIEWS: dict[View, tuple[int, int, int]] = {"coronal": (0, 2, 1), "axial": (0, 1, 2), "sagittal": (1, 2, 0)}
"""View -> axis that runs to the right, axis that runs down or up, axis across."""


@dataclass(frozen=True)
class Plane:
    """A view of `width_px` x `height_px` square pixels around `centre_mm`."""

    view: View
    centre_mm: Point
    width_px: int
    height_px: int
    mm_per_px: float

    @property
    def right(self) -> npt.NDArray[np.float64]:
        """Where columns run to, (3,)."""
        return np.eye(3)[VIEWS[self.view][0]]

    @property
    def down(self) -> npt.NDArray[np.float64]:
        """Where rows run to, (3,): to the feet, or to the back."""
        return np.eye(3)[VIEWS[self.view][1]] * (1.0 if self.view == "axial" else -1.0)

    def pixels(self, points_mm: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Return (column, row) of points, (P, 2): 0 is the centre of the first pixel."""
        offset_px = (np.asarray(points_mm, np.float64) - self.centre_mm) / self.mm_per_px
        middle = ((self.width_px - 1) / 2, (self.height_px - 1) / 2)
        return np.stack([offset_px @ self.right, offset_px @ self.down], axis=1) + middle

    def distance_mm(self, points_mm: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Return how far points are from the plane, (P,)."""
        across = VIEWS[self.view][2]
        return np.abs(np.asarray(points_mm, np.float64)[:, across] - self.centre_mm[across])

    def sample(
        self, image: sitk.Image, outside: float = 0.0, transform: sitk.Transform | None = None
    ) -> npt.NDArray[np.float32]:
        """Return an image on the plane, (height_px, width_px), linearly interpolated.

        Parameters
        ----------
        image : SimpleITK image
        outside : float
            Value beyond the image.
        transform : SimpleITK transform, optional
            From points of the plane to points of the image.
        """
        size = np.array([self.width_px, self.height_px])
        right, down = -self.mm_per_px * (size - 1) / 2
        axes = np.stack([self.right, self.down, np.cross(self.right, self.down)], axis=1)
        flat = sitk.Resample(
            image,
            (self.width_px, self.height_px, 1),
            transform or sitk.Transform(),
            sitk.sitkLinear,
            (np.array(self.centre_mm) + right * self.right + down * self.down).tolist(),
            (self.mm_per_px,) * 3,
            axes.ravel().tolist(),
            outside,
            sitk.sitkFloat32,
        )
        return np.asarray(sitk.GetArrayFromImage(flat)[0])


@dataclass(frozen=True)
class Extent:
    """Where the lungs are, or a whole scan: a box along the patient's axes, and the slices that hold most of them.

    Attributes
    ----------
    low_mm, high_mm : (3,) arrays
        Of the box.
    fullest_mm : (3,) array
        Along each axis the slice with most of it.
    """

    low_mm: npt.NDArray[np.float64]
    high_mm: npt.NDArray[np.float64]
    fullest_mm: npt.NDArray[np.float64]

    @classmethod
    def of_mask(cls, mask: sitk.Image) -> Self | None:
        """Return the extent of all above 0 in a mask whose axes are parallel to the patient's; None without any."""
        array = sitk.GetArrayViewFromImage(mask)
        counts = [np.count_nonzero(array, axis=axes) for axes in ((0, 1), (0, 2), (1, 2))]  # along x, y, z
        if not counts[0].any():
            return None
        occupied = [np.flatnonzero(count) for count in counts]
        first, last = ([int(places[end]) for places in occupied] for end in (0, -1))
        ends = [np.array(mask.TransformIndexToPhysicalPoint(index)) for index in (first, last)]
        fullest = mask.TransformIndexToPhysicalPoint([int(count.argmax()) for count in counts])
        return cls(np.minimum(*ends), np.maximum(*ends), np.array(fullest))

    @classmethod
    def of_scan(cls, image: sitk.Image) -> Self:
        """Return the box of a whole image; its middle stands for the fullest slices."""
        sizes = image.GetSize()
        corners = [
            image.TransformIndexToPhysicalPoint([(size - 1) * (number >> axis & 1) for axis, size in enumerate(sizes)])
            for number in range(8)
        ]
        low, high = np.min(corners, axis=0), np.max(corners, axis=0)
        return cls(low, high, (low + high) / 2)

    def centred(self, other: Self) -> Self:
        """Return this box, widened to the right or left until its middle is that of another one."""
        low, high = self.low_mm.copy(), self.high_mm.copy()
        middle = (other.low_mm[0] + other.high_mm[0]) / 2
        half = max(middle - low[0], high[0] - middle)
        low[0], high[0] = middle - half, middle + half
        return replace(self, low_mm=low, high_mm=high)

    def plane(self, view: View, size_px: tuple[int, int], mm_per_px: float, at_mm: float | None = None) -> Plane:
        """Return a view around the middle of the box, through the fullest slice or at a place across."""
        centre = (self.low_mm + self.high_mm) / 2
        across = VIEWS[view][2]
        centre[across] = self.fullest_mm[across] if at_mm is None else at_mm
        return Plane(view, (float(centre[0]), float(centre[1]), float(centre[2])), *size_px, mm_per_px)

    def least_mm_per_px(self, view: View, size_px: tuple[int, int], margin_mm: float) -> float:
        """Return how large pixels must be for the box, with a margin all around it, to fit a view."""
        edges = self.high_mm - self.low_mm + 2 * margin_mm
        right, down, _ = VIEWS[view]
        return float(max(edges[right] / size_px[0], edges[down] / size_px[1]))
