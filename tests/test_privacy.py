"""No text of a scan's header reaches an output, a log, a message or a picture: all that is made is searched for it."""

import gzip
import json
import logging
import tempfile
import traceback

import numpy as np
import pytest
from privacy_marks import (
    STEM,
    UID_ROOT,
    is_marked,
    marked_files,
    pack_marks,
    write_marked_dicom,
    write_marked_meta,
    write_marked_nifti,
    write_marked_nrrd,
)
from scan_model import write_detectors, write_scan_model
from typer.testing import CliRunner
from volumes import image_like, thorax
from workflow_run import DEFAULT, changed, snakemake, succeeded

from drasclr_core.atlas.atlas import read_atlas_mask
from drasclr_core.base.errors import InputError
from drasclr_core.cli.main import app
from drasclr_core.model.folder import load_model
from drasclr_core.scan.images import read_ct

CT = thorax((5.0, 5.0, 5.0))


def test_the_search_sees_through_every_packing(tmp_path):
    packed = pack_marks(tmp_path / "packed")
    files = {path for path in packed.rglob("*") if path.is_file()}
    assert set(marked_files(packed)) == files
    (tmp_path / "harmless").mkdir()
    (tmp_path / "harmless" / "date").write_text("1953-04-18, 19.530417")
    (tmp_path / "harmless" / "scan.nii.gz").write_bytes(gzip.compress(bytes(1000)))
    assert marked_files(tmp_path / "harmless") == []


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Scans with marks in their headers: four that are good, and two that are refused."""
    folder = tmp_path_factory.mktemp("given")
    write_marked_dicom(folder / "series", CT.ct)
    write_marked_nifti(folder / "nifti.nii.gz", CT.ct)
    write_marked_nrrd(folder / "nrrd.nrrd", CT.ct)
    write_marked_meta(folder / "meta.mha", CT.ct)
    write_marked_dicom(folder / "odd", CT.ct[:, :, :12], Modality=STEM)
    paths = write_marked_dicom(folder / "cut", CT.ct[:, :, :12])
    paths[3].write_bytes(paths[3].read_bytes()[:3000])
    return folder


GOOD, REFUSED = ("series", "nifti.nii.gz", "nrrd.nrrd", "meta.mha"), ("odd", "cut")


def test_every_scan_is_marked(given):
    files = {path for path in given.rglob("*") if path.is_file()}
    assert len(files) > 70
    assert set(marked_files(given)) == files


def test_commands_tell_and_keep_nothing_of_a_header(given, tmp_path, monkeypatch, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    run, out = tmp_path / "run", tmp_path / "out"
    write_detectors(
        run / "detector", load_model(write_scan_model(run / "model")), centrilobular=[0.9], paraseptal=[0.5]
    )
    (out / "temporary").mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(out / "temporary"))
    scans, model = [str(given / name) for name in (*GOOD, *REFUSED)], ["--model", str(run / "model")]
    calls = {
        "embed": ["embed", *scans, *model, "-o", str(out / "features.parquet"), "--json"],
        "embed-csv": ["embed", scans[1], *model, "-o", str(out / "features.csv")],
        "detect": ["detect", scans[0], *model, "-o", str(out / "mask.nii.gz"), "--stride", "32", "--json"],
        "detect-nrrd": ["detect", scans[2], *model, "-o", str(out / "mask.nrrd"), "--stride", "32"],
        "qc": ["qc", *scans[2:], *model, "--json"],
        "qc-picture": ["qc", scans[0], *model, "--picture", str(out / "picture.png")],
        "from-folder": ["cohort", "from-folder", str(given), "-o", str(out / "participants.tsv")],
    }
    for name, call in calls.items():
        result = CliRunner().invoke(app, call)
        assert result.exit_code == (3 if name in ("embed", "qc") else 0), (name, result.output)
        (out / f"{name}.txt").write_text(result.stdout + result.stderr)
        if name == "embed":
            states = {scan["scan"]: scan["status"] for scan in json.loads(result.stdout)["scans"]}
            assert list(states.values()) == ["ok"] * len(GOOD) + ["refused"] * len(REFUSED)
    (out / "printed.txt").write_text("".join(capfd.readouterr()))
    (out / "log.txt").write_text(caplog.text)
    assert {path.suffix for path in out.iterdir()} == {"", ".csv", ".gz", ".nrrd", ".parquet", ".png", ".tsv", ".txt"}
    assert marked_files(out) == []


SMALL = CT.ct[:12, :12, :12]
TEXT = f"{STEM} TEXT"


def series(**changes):
    return lambda folder: write_marked_dicom(folder / "series", SMALL, **changes)[0].parent


def nrrd(old, new):
    return lambda folder: write_marked_nrrd(folder / "scan.nrrd", SMALL, lambda header: header.replace(old, new))


def nhdr(new):
    return lambda folder: write_marked_nrrd(
        folder / "scan.nhdr", SMALL, lambda header: header.replace("encoding: raw", new + "\nencoding: raw")
    )


def meta(old, new):
    return lambda folder: write_marked_meta(folder / "scan.mha", SMALL, lambda header: header.replace(old, new))


def unknown_syntax(folder):
    paths = write_marked_dicom(folder / "series", SMALL)
    for path in paths:
        content = path.read_bytes()
        path.write_bytes(content.replace(b"1.2.840.10008.1.2.1\0", f"{UID_ROOT}"[:20].encode().ljust(20, b"\0")))
    return paths[0].parent


def truncated(name, write, share):
    def make(folder):
        path = write(folder / name, SMALL)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        return path

    return make


BROKEN = {
    "modality": series(Modality=STEM),
    "position": series(ImagePositionPatient=TEXT),
    "two-positions": series(ImagePositionPatient="1\\2"),
    "five-cosines": series(ImageOrientationPatient="1\\0\\0\\0\\1"),
    "orientation": series(ImageOrientationPatient="\\".join([TEXT] * 6)),
    "spacing": series(PixelSpacing=f"{TEXT}\\5"),
    "frames": series(NumberOfFrames=TEXT),
    "rows": series(Rows=TEXT),
    "photometric": series(PhotometricInterpretation=TEXT),
    "slope": series(RescaleSlope=TEXT),
    "syntax": unknown_syntax,
    "nrrd-type": nrrd("type: short", f"type: {STEM}"),
    "nrrd-encoding": nrrd("encoding: raw", f"encoding: {STEM}"),
    "nrrd-directions": nrrd("0,0,5", f"0,0,{STEM}"),
    "nrrd-field": nrrd("content:", f"{STEM}:"),
    "nrrd-file": nhdr(f"data file: {STEM}.raw"),
    "nrrd-list": nhdr(f"data file: LIST\n{STEM}"),
    "nrrd-cut": truncated("scan.nrrd", write_marked_nrrd, 0.6),
    "nifti-cut": truncated("scan.nii.gz", write_marked_nifti, 0.6),
    "meta-type": meta("MET_SHORT", STEM),
    "meta-file": meta("LOCAL", f"{STEM}.raw"),
    "meta-size": meta("DimSize = 12", f"DimSize = {STEM}"),
    "meta-machine": meta("DimSize = 12", f"DimSize = {STEM} Failed to allocate memory"),
    "meta-cut": truncated("scan.mha", write_marked_meta, 0.6),
}


@pytest.mark.parametrize("read", [read_ct, lambda path: read_atlas_mask(path, 5.0)], ids=["scan", "atlas"])
@pytest.mark.parametrize("name", BROKEN)
def test_a_refusal_does_not_quote_the_header(tmp_path, capfd, caplog, name, read):
    """Neither its message, nor the traceback that a job's log would hold, nor what the readers print by themselves."""
    caplog.set_level(logging.DEBUG)
    scan = BROKEN[name](tmp_path)
    assert marked_files(tmp_path)
    told = ""
    try:
        read(scan)
    except (InputError, RuntimeError):
        told = traceback.format_exc()
    assert told, "it was read"
    assert not is_marked("".join((told, caplog.text, *capfd.readouterr())).encode())


@pytest.mark.workflow
def test_the_workflow_keeps_nothing_of_a_header(given, tmp_path):
    write_marked_nifti(given / "atlas.nii.gz", image_like(CT.ct, CT.lungs.astype(np.int16)))
    rows = ["participant_id\timage", *(f"p{number}\t{given / name}" for number, name in enumerate(("series", "odd")))]
    (tmp_path / "clinic.tsv").write_text("\n".join([*rows, ""]))
    config = changed(
        DEFAULT,
        {
            "cohorts": {"clinic": {"participants": "clinic.tsv"}},
            "roles": {"copd": "clinic", "covid": "clinic"},
            "atlases": {"healthy": {"mask": str(given / "atlas.nii.gz")}},
            "runs": {"laa950": {"method": "laa950", "atlas": "healthy"}},
            "preprocess": {"axes": "LPS", "spacing_mm": 5.0, "max_excluded_fraction": 0.5},
            "registration.spacing_mm": 8.0,
            "landmarks.step": 10,
            "evaluation": {"folds": 2, "readout": "plain"},
        },
    )
    told = succeeded(snakemake(tmp_path, config, "preprocess", "qc"))
    (tmp_path / "told.txt").write_text(told)
    aligned = tmp_path / "results" / "clinic" / "healthy"
    assert (aligned / "included.tsv").read_text().split() == ["participant_id", "p0"]
    assert "modalities found: unknown" in (aligned / "exclusions.tsv").read_text()
    assert (aligned / "qc" / "0" / "p0.png").exists()
    assert len(list(tmp_path.rglob("*.log"))) > 8
    assert marked_files(tmp_path) == []
