import pytest
import yaml

from drasclr_core.base.documents import schema
from drasclr_core.base.errors import InputError
from drasclr_core.cohort.imports.rules import COPDGENE, read_rules
from drasclr_core.scan.files import FORMATS


def test_the_rules_know_every_image_format_and_every_column_but_the_cohorts_own():
    rules = read_rules()
    assert set(rules["images"]["formats"]) == {*FORMATS, "dicom"}
    own = {"participant_id", "image", "person", "exclude_reason", "covid_grade"}
    assert set(rules["columns"]) == schema("participants")["properties"].keys() - own


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"keyz": []}, "Additional properties are not allowed ('keyz' was unexpected)"),
        ({"columns": {"fev": {"tables": ["pheno"], "names": ["a"], "lacking": "b"}}}, "columns.fev: no column of"),
        (
            {"columns": {"sex": {"tables": ["pheno"], "names": ["a"], "lacking": "b", "codes": {1: "male"}}}},
            "columns.sex.codes.1: 'male' is no value of sex",
        ),
        (
            {"images": {"name": "(", "breath": "", "phases": [""], "kernels": ["a"], "formats": [".nii"]}},
            "images.name: no",
        ),
        (
            {"images": {"name": "(?P<key>.)", "breath": "", "phases": [""], "kernels": ["a"], "formats": [".nii"]}},
            "breath,",
        ),
    ],
)
def test_rules_of_ones_own_are_checked(tmp_path, change, told):
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(COPDGENE.read_text(encoding="utf-8")) | change), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_rules(path)
    assert told in str(caught.value)
    assert str(path) in str(caught.value)
