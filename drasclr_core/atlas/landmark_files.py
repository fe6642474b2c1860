"""The files that describe an atlas's landmarks: a list of patch corners, and landmarks.json."""

import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from drasclr_core.base.errors import InputError

Convention = Literal["centre", "released"]
CONVENTIONS: tuple[Convention, ...] = ("centre", "released")

# The grid's arrays in JSON: dtype and number of axes.
_ARRAYS: dict[str, tuple[type, int]] = {
    "points_mm": (np.float64, 2),
    "codes": (np.float64, 2),
    "neighbours": (np.int64, 2),
    "code_low_mm": (np.float64, 1),
    "code_high_mm": (np.float64, 1),
}


def load_corners(path: str | Path) -> npt.NDArray[np.int64]:
    """Read a landmark file: an .npy of (L, 3) integer corner voxel indices (x, y, z), in the order to keep.

    Raises
    ------
    InputError
        If the file cannot be read or does not hold such an array.
    """
    try:
        with Path(path).open("rb") as file:  # numpy would leave a damaged one open
            corners = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not a readable .npy file ({error}): save the corners with numpy.save.") from error
    if not (isinstance(corners, np.ndarray) and corners.ndim == 2 and corners.shape[1] == 3 and len(corners)):
        raise InputError(f"{path} holds an array of shape {getattr(corners, 'shape', None)}: (L, 3) is wanted.")
    if not np.issubdtype(corners.dtype, np.integer):
        raise InputError(f"{path} holds {corners.dtype} numbers: corners are integer voxel indices (x, y, z).")
    return corners.astype(np.int64)


def read_grid(content: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a `LandmarkGrid` from the content of landmarks.json.

    Raises
    ------
    InputError
        If a key is missing or unknown, or a value has the wrong shape or range.
    """
    names = {*_ARRAYS, "patch_size", "convention", "spacing_mm", "direction"}
    if not isinstance(content, dict) or set(content) != names:
        raise InputError(f"landmarks.json: the keys must be exactly {', '.join(sorted(names))}; rebuild the atlas.")
    arrays = {name: _read_array(name, content[name], *kind) for name, kind in _ARRAYS.items()}
    _check_grid(arrays, content)
    return {**content, **arrays, "direction": tuple(content["direction"])}


def _read_array(name: str, value: Any, dtype: type, axes: int) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = np.array(value, dtype)
    except (TypeError, ValueError) as error:
        raise InputError(f"landmarks.json: {name} is not an array of {np.dtype(dtype)}: {error}.") from error
    if array.ndim != axes or not np.isfinite(array).all():
        raise InputError(f"landmarks.json: {name} has shape {array.shape} or holds NaN; rebuild the atlas.")
    return array


def _check_grid(arrays: dict[str, npt.NDArray[Any]], content: dict[str, Any]) -> None:
    count, table = len(arrays["points_mm"]), arrays["neighbours"]
    checks = {
        "points_mm, codes": arrays["points_mm"].shape == arrays["codes"].shape == (count, 3),
        "neighbours": len(table) == count and table.size > 0 and table.min() >= 0 and table.max() < count,
        "code_low_mm, code_high_mm": arrays["code_low_mm"].shape == arrays["code_high_mm"].shape == (3,),
        "convention": content["convention"] in CONVENTIONS,
        "patch_size": isinstance(content["patch_size"], int) and content["patch_size"] > 0,
        "spacing_mm": isinstance(content["spacing_mm"], float) and content["spacing_mm"] > 0,
        "direction": np.shape(content["direction"]) == (3,) and np.isin(content["direction"], (-1, 1)).all(),
    }
    if faults := [name for name, good in checks.items() if not good]:
        raise InputError(f"landmarks.json: {'; '.join(faults)} out of range or of the wrong shape; rebuild the atlas.")
