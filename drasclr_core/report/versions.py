"""What the results were made with."""

import os
import platform
import subprocess
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from drasclr_core.base.version import __version__

PACKAGES = [
    "antspyx",
    "jinja2",
    "lifelines",
    "lungmask",
    "matplotlib",
    "numpy",
    "pandas",
    "scikit-learn",
    "scipy",
    "SimpleITK",
    "snakemake",
    "torch",
    "zarr",
]


def package_versions() -> dict[str, str]:
    """Return name -> version of drasclr, Python and the packages that decide results; absent ones are left out."""
    found = {name: _version(name) for name in PACKAGES}
    return {
        "drasclr": __version__,
        "python": platform.python_version(),
        **{name: version for name, version in found.items() if version},
    }


def page_date() -> str:
    """Return the date in UTC, YYYY-MM-DD: today's, or that of SOURCE_DATE_EPOCH, for pages equal to the byte."""
    seconds = float(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def git_commit(folder: str | Path) -> str | None:
    """Return the commit of a checkout, with ``+changes`` if tracked files differ from it; None outside of one."""
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")
    if commit is None:
        return None
    return f"{commit}+changes" if _git(folder, "status", "--porcelain", "--untracked-files=no") else commit


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git(folder: str | Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
