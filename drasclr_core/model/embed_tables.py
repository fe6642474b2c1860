"""The features of scans as tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from drasclr_core.base.files import atomic_path
from drasclr_core.base.paths import path_cell
from drasclr_core.base.version import __version__
from drasclr_core.model.embed_scan import ScanFeatures
from drasclr_core.model.files import WEIGHTS
from drasclr_core.model.folder import Model

if TYPE_CHECKING:
    import pandas as pd

TABLE_SUFFIXES = (".parquet", ".csv")
SCANS = "scan_sha256"
"""The key of the metadata that names each scan's content."""


@dataclass
class Tables:
    """A row per scan, and a row per scan and landmark; the metadata in the `attrs` of both."""

    means: "pd.DataFrame"
    landmarks: "pd.DataFrame"


@dataclass
class NewTable:
    """The tables of one call, written in its end."""

    path: Path
    model: Model
    known: dict[str, str] = field(default_factory=dict)  # stays empty: nothing was there before
    _found: dict[str, tuple[str, ScanFeatures]] = field(default_factory=dict)

    def add(self, scan: str, sha256: str, features: ScanFeatures) -> None:
        """Keep the features of a scan in memory."""
        self._found[scan] = sha256, features

    def write(self, scans: Sequence[str]) -> bool:
        """Write both tables, the rows in the order of `scans`; return whether there is a row at all."""
        found = {scan: self._found[scan] for scan in scans if scan in self._found}
        if found:
            features = {scan: each for scan, (_, each) in found.items()}
            sha256 = {scan: sum_ for scan, (sum_, _) in found.items()}
            write_tables(feature_tables(features, self.model, sha256), self.path)
        return bool(found)


def landmarks_path(path: str | Path) -> Path:
    """Return where `write_tables` puts the features of every landmark: ``features.landmarks.parquet``, say."""
    path = Path(path)
    return path.with_name(f"{path.stem}.landmarks{path.suffix}")


def about_model(model: Model) -> dict[str, Any]:
    """Return what the metadata of tables say of the model: which, what it was trained on, what was read of it."""
    told: dict[str, Any] = {
        "drasclr": __version__,
        "features": model.encoder.features,
        "trained_on": model.trained_on,
        "warnings": model.scan_warnings,
    }
    if model.sums is not None:
        told |= {"model_sha256": model.sums[WEIGHTS], "model": model.identity}
    return told


def feature_tables(found: Mapping[str, ScanFeatures], model: Model, sha256: Mapping[str, str]) -> Tables:
    """Return the features of scans as tables.

    Parameters
    ----------
    found : mapping
        Scan as it was named -> its features; at least one.
    model : Model
        The one that made them.
    sha256 : mapping
        Scan -> the sum of its content.
    """
    import pandas as pd

    means = _frame(np.stack([features.mean for features in found.values()]))
    means.insert(0, "scan", list(found))
    each = pd.concat([_landmark_frame(scan, features) for scan, features in found.items()], ignore_index=True)
    means.attrs = each.attrs = {**about_model(model), SCANS: {scan: sha256[scan] for scan in found}}
    return Tables(means, each)


def write_tables(tables: Tables, path: str | Path, before: Tables | None = None) -> None:
    """Write two tables, which appear together once both are whole, the means last.

    Parameters
    ----------
    tables : Tables
    path : path
        Of the means, ``.parquet`` or ``.csv``: scan, f0, f1, ...; the other table is at `landmarks_path`: scan,
        landmark, valid, x_mm, y_mm, z_mm (in atlas space, LPS), f0, f1, ... Only Parquet keeps the metadata.
    before : Tables, optional
        Their rows come first.
    """
    import pandas as pd

    about = tables.means.attrs
    frames = {landmarks_path(path): tables.landmarks, Path(path): tables.means}
    if before is not None:
        about = {**about, SCANS: before.means.attrs[SCANS] | about[SCANS]}
        for place, old in zip(frames, (before.landmarks, before.means), strict=True):
            frames[place] = pd.concat([old, frames[place]], ignore_index=True)
    with atomic_path(path) as means_partial, atomic_path(landmarks_path(path)) as each_partial:
        for frame, partial in zip(frames.values(), (each_partial, means_partial), strict=True):
            frame.attrs = about
            if partial.suffix == ".csv":
                frame.assign(scan=frame["scan"].map(path_cell)).to_csv(partial, index=False)
            else:
                frame.to_parquet(partial, index=False)


def _landmark_frame(scan: str, features: ScanFeatures) -> Any:
    frame = _frame(features.landmarks)
    columns = {"scan": scan, "landmark": range(len(frame)), "valid": features.valid}
    columns |= dict(zip(("x_mm", "y_mm", "z_mm"), features.landmarks_mm.T, strict=True))
    for place, (name, values) in enumerate(columns.items()):
        frame.insert(place, name, values)
    return frame


def _frame(features: npt.NDArray[np.float32]) -> Any:
    import pandas as pd

    return pd.DataFrame(features, columns=[f"f{i}" for i in range(features.shape[1])])
