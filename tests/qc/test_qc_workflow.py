"""`snakemake qc` on the finished tiny cohort: everybody is on the page, with a picture."""

import re
import shutil

import pytest
from html_page import Page
from workflow_run import snakemake, succeeded, tiny_config

pytestmark = pytest.mark.workflow


def test_every_subject_is_on_the_page_with_a_picture(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    succeeded(snakemake(folder, tiny_config(), "qc"))
    path = folder / "results/phantom/healthy/qc.html"
    page = Page(path.read_text(encoding="utf-8"))
    ids = {f"phantom-{number:03d}" for number in range(1, 7)}
    assert {value.removeprefix("s-") for value in page.values("id") if value.startswith("s-")} == ids
    pictures = [path.parent / source for source in page.values("src")]
    assert {picture.stem for picture in pictures} == ids
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)
    marked = re.findall(r'<th scope="row">([\w-]+) <span class="atlas"', path.read_text(encoding="utf-8"))
    assert marked == ["phantom-001"]
