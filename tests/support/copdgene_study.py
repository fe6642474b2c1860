"""COPDGene's files, generated small: three tables, a folder of scans, and their import."""

import csv

import pytest

from drasclr_core.base.errors import InputError
from drasclr_core.cohort.imports.copdgene import import_copdgene
from drasclr_core.cohort.table import validate_participants

PHENO = {
    "sid": "10002K",
    "FEV1pp_utah": "71.5",
    "FEV1_FVC_utah": "0.61",
    "finalGold": "2",
    "Exacerbation_Frequency": "3",
    "Age_Enroll": "64.7",
    "gender": "1",
    "race": "2",
    "SmokCigNow": "1",
    "ATS_PackYears": "38",
    "BODE": "4",
    "Pi10_SRWA": "3.7",
    "WallAreaPct_seg": "61.2",
    "pctEmph_Slicer": "12.5",
    "pctGasTrap_Slicer": "30",
}
VISUAL = {"sid": "10002K", "Emph_Severity": "3", "Emph_Paraseptal": "1"}
MORTALITY = {"sid": "10002K", "vital_status": "0", "days_followed": "2500"}
IDS = ("10002K", "10003M", "10004O")


class Study:
    """A folder with COPDGene's files, and the import of them."""

    def __init__(self, folder):
        self.folder, self.images = folder, folder / "images"
        self.images.mkdir()
        self.target = folder / "out" / "participants.tsv"
        self.tables = {}
        for role, row in (("pheno", PHENO), ("visual", VISUAL), ("mortality", MORTALITY)):
            self.write(role, *(row | {"sid": name} for name in IDS))
        for name in IDS:
            self.scan(f"{name}_INSP_STD_BWH_COPD.nrrd")

    def write(self, role, *rows, suffix=".txt", delimiter="\t", newline="\n", encoding="utf-8"):
        lines = [delimiter.join(rows[0])] + [delimiter.join(row.values()) for row in rows]
        path = self.folder / f"{role}{suffix}"
        path.write_bytes((newline.join(lines) + newline).encode(encoding))
        self.tables[role] = path

    def pheno(self, **changes):
        """Write the phenotypes anew, with changes of the first subject's row; other rows stay as they are."""
        rows = [PHENO | {"sid": name} | dict.fromkeys(changes.keys() - PHENO.keys(), "") for name in IDS]
        self.write("pheno", rows[0] | changes, *rows[1:])

    def scan(self, name, content=b"scan"):
        path = self.images / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def run(self, **options):
        return "\n".join(import_copdgene(self.tables, self.images, self.target, **options))

    def frame(self):
        return validate_participants(self.target).set_index("participant_id")

    def left_out(self):
        with self.target.with_name("participants.left_out.tsv").open(encoding="utf-8") as file:
            return {row["participant_id"]: row["reason"] for row in csv.DictReader(file, delimiter="\t")}

    def refused(self, **options):
        with pytest.raises(InputError) as caught:
            self.run(**options)
        assert not self.target.exists()
        return str(caught.value)
