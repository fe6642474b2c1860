"""Check one scan as a workflow would, and draw what it saw."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drasclr_core.base.errors import InputError, QualityError
from drasclr_core.base.files import CT, atomic_path
from drasclr_core.qc.picture import Atlas, draw_subject
from drasclr_core.qc.subjects import see

if TYPE_CHECKING:
    from drasclr_core.model.embed_scan import Progress, ScanReader


def check_and_draw(
    scan: str | Path, progress: "Progress", picture: Path, reader: "ScanReader | None" = None
) -> dict[str, Any]:
    """Return the metrics of a scan's stages and write its picture, as far as it comes also where it is refused.

    Parameters
    ----------
    scan : path
    progress : function
        Told what happens now.
    picture : path
        PNG to write.
    reader : ScanReader, optional
        Of a model; without it only the lungs are found, and the picture lacks landmarks and atlas.

    Raises
    ------
    InputError, QualityError
        If the scan is refused. There is no picture of one that cannot be read.
    """
    from drasclr_core.model.embed_scan import find_lungs

    picture.unlink(missing_ok=True)  # an older one would be taken for this scan's
    refusal: InputError | QualityError | None = None
    with tempfile.TemporaryDirectory(prefix="drasclr-") as name:
        work, metrics = Path(name), {}
        try:
            metrics = reader.cut(scan, work, progress)[1] if reader else find_lungs(scan, work, progress)
        except (InputError, QualityError) as error:
            if not (work / "ingest" / CT).exists():
                raise
            refusal = error
        progress("drawing")
        atlas = Atlas(reader.model.atlas, reader.model.grid) if reader else None
        image = draw_subject(see(scan, work / "segment", work / "register"), atlas, _title(metrics, refusal))
        with atomic_path(picture) as partial:
            image.save(partial, format="PNG")
    if refusal is not None:
        raise refusal
    return metrics


def _title(metrics: dict[str, Any], refusal: Exception | None) -> str:
    """Return the figures of a scan, or that it is refused and why."""
    if refusal is not None:
        return f"refused: {refusal}"
    lungs, place = metrics["segment"], metrics.get("register", {})
    told = [
        f"lungs {lungs['lung_l']:.2f} l (right {lungs['right_lung_l']:.2f}, left {lungs['left_lung_l']:.2f})",
        f"LAA-950 {lungs['laa950_pct']:.1f} %",
    ]
    told += [f"{name} {place[name]:.2f}" for name in ("dice", "determinant") if name in place]
    return ", ".join(told)
