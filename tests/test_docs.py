"""The documentation: what its links may be, and that its check finds those that are broken."""

import importlib.util
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from formats_page import PAGE, described_files
from torch import nn

from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.base.errors import InputError
from drasclr_core.base.files import Record
from drasclr_core.cohort.flow import EXCLUSION_COLUMNS
from drasclr_core.cohort.table import BOX_COLUMNS
from drasclr_core.config.table_specs import load_experiment
from drasclr_core.detect.patches import BoxPatches
from drasclr_core.model.layers import _convolve
from drasclr_core.qc.rows import SubjectRow
from drasclr_core.train.telemetry import COLUMNS

ROOT = Path(__file__).resolve().parents[1]

SOUND = """
[page](cluster.md#training) [root](../README.md#start) [file](../Makefile) [folder](../rules) [site](https://x.org/a_b)
![picture](images/phantom.png) `[code](nope.md)`

```text
[code](nope.md)
```
"""
BROKEN = {
    "nope.md": "not found",
    "../nope.yaml": "not found",
    "images/nope.png": "not found",
    "cluster.md#nope": "does not contain an anchor",
    "../README.md#nope": "does not contain an anchor",
    "#nope": "no such anchor",
    "/rules": "absolute link",
    "../../outside": "unrecognized",
    "http://x.org": "is not https",
    "https://x": "has no proper host",
}

BUILD = """
import logging, sys
logging.basicConfig(level="WARNING", format="%(message)s")
from mkdocs.commands.build import build
from mkdocs.config import load_config
build(load_config(sys.argv[1], docs_dir=sys.argv[2], site_dir=sys.argv[3], strict=True))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """What MkDocs says of the pages with one more, in which links are broken, line by line; and the site."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(ROOT / "docs", folder / "docs")
    links = "\n".join(f"[broken]({link})" for link in BROKEN)
    (folder / "docs" / "planted.md").write_text(f"# Planted\n{SOUND}\n{links}\n", encoding="utf-8")
    command = [sys.executable, "-c", BUILD, ROOT / "mkdocs.yml", folder / "docs", folder / "site"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    return done.stderr.splitlines(), folder / "site"


@pytest.fixture(scope="module")
def told(built):
    return built[0]


@pytest.mark.parametrize("link", BROKEN)
def test_a_broken_link_is_refused(told, link):
    shown = link.replace("../README.md", "index.md")  # as the site knows the page
    assert any(f"'{shown}'" in line and BROKEN[link] in line for line in told), "\n".join(told)


def test_a_page_that_the_navigation_lacks_is_refused(told):
    assert any("planted.md" in line and "nav" in before for before, line in zip(told, told[1:], strict=False))


def test_sound_links_and_code_are_not_refused(told):
    planted = [line for line in told if "planted.md" in line and "link" in line]
    assert len(planted) == len(BROKEN), "\n".join(told)


def test_the_site_loads_nothing_from_elsewhere(built):
    pages = {path.name: path.read_text(encoding="utf-8") for path in built[1].rglob("*.html")}
    assert "planted.html" in pages
    loads = re.compile(r'<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)="(?:https?:)?//[^"]*"')
    assert {name: found for name, page in pages.items() if (found := loads.findall(page))} == {}


def reference():
    spec = importlib.util.spec_from_file_location("write_reference", ROOT / "docs" / "scripts" / "write_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PAGES


@pytest.mark.parametrize("name", ["command_line.md", "configuration.md"])
def test_the_pages_of_reference_are_those_of_the_code(name):
    written = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert written == reference()[name](), "outdated: call `make reference`"


def test_the_page_of_file_formats_names_every_field():
    kinds = (Record, LandmarkGrid, BoxPatches, SubjectRow)
    names = [*COLUMNS, *EXCLUSION_COLUMNS, *BOX_COLUMNS, *(each.name for kind in kinds for each in fields(kind))]
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in names if f"`{name}`" not in page] == []


EXAMPLES = {"table": "table2", "figure": "figure3", "comparison": "tableA5"}
INSIDE = ["", "/record.json", "/model.json", "/paraseptal/detector.json", "/subjects.json", "/zarr.json"]


def test_every_output_of_the_rules_is_described():
    texts = [path.read_text(encoding="utf-8") for path in ROOT.glob("rules/*.smk")]
    sections = [section for text in texts for section in re.findall(r"^    output:\n(.*?)^    \w+:", text, re.M | re.S)]
    outputs = [path for section in sections for path in re.findall(r'"(results/[^"]+)"', section)]
    assert len(outputs) > 40
    paths = [re.sub(r"{(\w+)}", lambda name: EXAMPLES.get(name[1], name[1]), path) for path in outputs]
    described = described_files()
    known = [any(each.fullmatch(path + inside) for each in described for inside in INSIDE) for path in paths]
    assert [path for path, is_known in zip(outputs, known, strict=True) if not is_known] == []


def example(language, number=0):
    """Return a block of code of docs/adding_a_method.md."""
    page = (ROOT / "docs" / "adding_a_method.md").read_text(encoding="utf-8")
    return dedent(re.findall(rf"^ *```{language}\n(.*?)^ *```$", page, re.M | re.S)[number])


def test_the_method_of_the_page_makes_features():
    names = {"__name__": "percentiles"}
    exec(example("python"), names)
    hu = np.array([np.full((2, 2, 2), -900), np.full((2, 2, 2), 3000)], np.int16)
    subject = SimpleNamespace(participant_id="s1", valid=np.array([True, False]), patches=hu)
    assert names["build"]({"count": 3}).embed(subject).tolist() == [-900, -900, -900]
    with pytest.raises(InputError, match="no parameter counts; it has count"):
        names["build"]({"counts": 3})


def test_the_table_of_the_page_is_one(tmp_path):
    path = tmp_path / "table10.yaml"
    path.write_text(example("yaml", 1), encoding="utf-8")
    assert [row.run for row in load_experiment(path).rows] == ["laa950", "percentiles"]


def test_the_layer_of_the_page_is_a_convolution_of_scaled_kernels():
    torch.manual_seed(0)
    names = {"nn": nn, "torch": torch, "_convolve": _convolve, "__name__": "layers"}
    exec(example("python", 1), names)
    layer, x, places = names["ScaledConv3d"](2, 3), torch.randn(4, 2, 5, 5, 5), torch.randn(2, 3)
    ours = layer.convolve(x, layer.kernels(places))
    for half, place in ((slice(0, 2), 0), (slice(2, 4), 1)):
        scale = 1 + torch.tanh(layer.scale.weight @ places[place])
        plain = (layer.conv(x[half]) - layer.conv.bias[:, None, None, None]) * scale[:, None, None, None]
        torch.testing.assert_close(ours[half], plain + layer.conv.bias[:, None, None, None])
