"""What docs/file_formats.md says there is."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "file_formats.md"


def described_files():
    """Return a pattern for each file that the page describes; a folder's stands for all inside."""
    names, folder, in_files = [], "", False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            folder = next(iter(re.findall(r"`(results/.*)`", line)), "")
        in_files = line.startswith("| file |") or (in_files and line.startswith("|"))
        if in_files:
            names += [folder + name for name in re.findall(r"`([^`]+)`", line.split("|")[1])]
    ends = [f"{name}.*" if name.endswith("/") else name for name in names]
    return [re.compile(re.sub(r"{\w+}", "[^/]+", name.replace(".", r"\.").replace(r"/\.*", "/.*"))) for name in ends]
