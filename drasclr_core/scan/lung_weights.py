"""The weights of lungmask's R231 network: fetched once, on request, and checked by their sha256."""

import logging
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from drasclr_core.base.errors import InputError
from drasclr_core.base.files import atomic_path, file_sha256
from drasclr_core.base.paths import cache_folder, check_writable

logger = logging.getLogger(__name__)

R231_SHA256 = "d5d2fc3df432115933491f115b283e94d1f5c841c0e82f6e7bd2d65d3ccde69f"
_MODEL = "R231"
_CLASSES = 3  # background, right, left
_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 60


def weights_cache() -> Path:
    """Return where R231 lies unless somebody says otherwise."""
    return cache_folder() / "lungmask-r231.pth"


def check_weights(path: str | Path, sha256: str | None = R231_SHA256) -> Path:
    """Return the path of a weights file once it is known to be the one expected, safe and of the right shape.

    Parameters
    ----------
    path : path
        A `torch.save`d state dict.
    sha256 : str or None
        What the file's digest must be; None for weights of one's own training.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    InputError
        If the file is missing, another, not a plain state dict, or not for three classes.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"{path}: no such weights file: run `drasclr fetch-weights`, or name a copy (segmentation.weights in a "
            "configuration, --lung-weights)."
        )
    if sha256 is not None:
        _check_digest(path, file_sha256(path), sha256)
    _check_content(path)
    return path


def fetch_weights(target: str | Path) -> Path:
    """Download R231 from lungmask's own address to `target`; the file appears only when its sha256 is right.

    Parameters
    ----------
    target : path
        The file to write; left as it is where it is already right.

    Returns
    -------
    Path
        `target`.

    Raises
    ------
    InputError
        If the target cannot be written, the download fails or is not the published file.
    """
    target = Path(target)
    if target.is_file() and file_sha256(target) == R231_SHA256:
        return target
    check_writable(target)
    url = import_lungmask().MODEL_URLS[_MODEL][0]
    logger.info("fetching %s", url)
    with atomic_path(target) as partial:
        with partial.open("wb") as file:
            for chunk in _download(url):
                file.write(chunk)
        _check_digest(url, file_sha256(partial), R231_SHA256)
    return target


def _download(url: str) -> Iterator[bytes]:
    """Yield what lies at an address; faults of the disk where it is written are not those of the network."""
    import http.client  # here: every job of a subject imports this module
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
            while chunk := answer.read(_CHUNK_BYTES):
                yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise InputError(
            f"{url} cannot be fetched ({error}): try again, or copy the file from another machine to "
            f"{weights_cache()}, or name it (segmentation.weights in a configuration, --lung-weights)."
        ) from error


def import_lungmask() -> ModuleType:
    """Return `lungmask.mask`, kept from silencing everybody's warnings and from writing to the console."""
    with warnings.catch_warnings():
        from lungmask import mask
    mask.logger.handlers.clear()
    return mask


def _check_digest(source: str | Path, found: str, expected: str) -> None:
    if found != expected:
        raise InputError(
            f"{source}: sha256 is {found}, expected {expected}: fetch the weights again with `drasclr fetch-weights`."
        )


def _check_content(path: Path) -> None:
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        classes = len(list(state.values())[-1])
    except (pickle.UnpicklingError, RuntimeError, EOFError, AttributeError, TypeError, IndexError) as error:
        raise InputError(f"{path}: not a file of plain network weights: fetch R231 again.") from error
    if classes != _CLASSES:
        raise InputError(f"{path}: weights for {classes} classes, R231 has {_CLASSES} (background, right, left).")
