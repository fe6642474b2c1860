"""One subject's results, read only when asked for."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from drasclr_core.atlas.patches import STORE, open_patches
from drasclr_core.atlas.registration import read_transform
from drasclr_core.base.errors import InputError
from drasclr_core.base.files import CT, LUNGS, TRANSFORM, Record, read_record
from drasclr_core.scan.images import read_image


@dataclass(frozen=True)
class Subject:
    """A subject and the folders of the stages it went through; a stage that a reader does not need may be left out.

    What has been read is kept with the subject; `dataclasses.replace(subject)` makes one that has read nothing.

    Attributes
    ----------
    participant_id : str
    ingest, segment, register, patches_folder : Path, optional
        Folders of the four stages.
    """

    participant_id: str
    ingest: Path | None = None
    segment: Path | None = None
    register: Path | None = None
    patches_folder: Path | None = None

    @cached_property
    def ct(self) -> sitk.Image:
        """The isotropic volume, int16 HU."""
        return read_image(self._folder("ingest") / CT)

    @cached_property
    def lungs(self) -> sitk.Image:
        """The lung mask on the grid of `ct`, uint8: 1 right, 2 left."""
        return read_image(self._folder("segment") / LUNGS)

    @cached_property
    def transform(self) -> sitk.AffineTransform:
        """The affine from atlas points to the subject's, LPS millimetres."""
        return read_transform(self._folder("register") / TRANSFORM)

    @cached_property
    def patches(self) -> npt.NDArray[np.int16]:
        """The patches, (L, P, P, P) int16 HU."""
        return self._stored("hu")

    @cached_property
    def valid(self) -> npt.NDArray[np.bool_]:
        """Whether each patch's centre lies inside the volume, (L,) bool."""
        return self._stored("valid")

    def record(self, stage: str) -> Record:
        """Return the record of a stage: ingest, segment, register or patches."""
        return read_record(self._folder(stage))

    def _folder(self, stage: str) -> Path:
        name = "patches_folder" if stage == "patches" else stage
        folder: Path | None = getattr(self, name)
        if folder is None:
            raise InputError(
                f"{self.participant_id}: the folder of the stage {stage} is needed here: pass it as {name}."
            )
        return folder

    def _stored(self, name: str) -> Any:
        return open_patches(self._folder("patches") / STORE)[name][:]
