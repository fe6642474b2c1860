"""COPDGene's tables, generated small, with every trap that we know of; results worked out by hand."""

import pytest
import yaml
from copdgene_study import IDS, MORTALITY, PHENO, VISUAL, Study
from typer.testing import CliRunner
from workflow_run import ROOT

from drasclr_core.base.errors import InputError
from drasclr_core.cli.main import app
from drasclr_core.cohort.imports.rules import COPDGENE, read_rules
from drasclr_core.cohort.table import read_participant_rows
from drasclr_core.config.checks import check_participants


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path)


def test_every_column_by_hand(study):
    text = study.run()
    frame = study.frame()
    assert frame.index.tolist() == list(IDS)
    row = frame.loc["10002K"].dropna().to_dict()
    assert row == {
        "image": "../images/10002K_INSP_STD_BWH_COPD.nrrd",
        "person": "10002K",
        "fev1pp": 71.5,
        "fev1_fvc": 0.61,
        "gold": 2,
        "cle": 3,
        "paraseptal": 1,
        "exacerbations": 3,
        "age_years": 64.7,
        "sex": "M",
        "race": "black",
        "smoking_status": "current",
        "pack_years": 38,
        "bode": 4,
        "pi10_mm": 3.7,
        "wall_area_pct": 61.2,
        "laa950_pct": 12.5,
        "gas_trapping_pct": 30,
        "followup_days": 2500,
        "died": 0,
    }
    assert (study.target.parent / row["image"]).read_bytes() == b"scan"
    assert "no column is missing" in text
    *_, doubts = text.partition("compare with the dictionary of your release\n")
    assert "smoking_status    SmokCigNow 0 is no, 1 is yes; any other code is refused" in doubts
    assert study.left_out() == {}


@pytest.mark.parametrize(
    ("code", "gold", "smoking"),
    [("-1", -1, "former"), ("-2", None, "never"), ("", None, "former"), ("-1.0", -1, "former")],
)
def test_prism_is_a_group_and_those_who_never_smoked_have_no_stage(study, code, gold, smoking):
    study.pheno(finalGold=code, SmokCigNow="0")
    text = study.run()
    row = study.frame().astype(object).loc["10002K"]
    assert (row["gold"] if row["gold"] == row["gold"] else None, row["smoking_status"]) == (gold, smoking)
    assert ("1 with -2: empty" in text) == (code == "-2")


@pytest.mark.parametrize("cell", ["", "NA", "NaN", "."])
@pytest.mark.parametrize("column", [name for name in PHENO if name != "sid"])
def test_a_missing_cell_is_never_a_number(study, column, cell):
    study.pheno(**{column: cell})
    study.run()
    frame = study.frame()
    assert frame.loc["10002K"].isna().sum() == frame.loc["10003M"].isna().sum() + 1


@pytest.mark.parametrize(
    ("column", "cell", "told"),
    [
        ("finalGold", "9", "column finalGold: '9' is no code of it (-2, -1, 0, 1, 2, 3, 4): 10002K (line 2)"),
        ("finalGold", "U", "'U' is no code"),
        ("finalGold", "3.5", "'3.5' is no code"),
        ("gender", "0", "column gender: '0' is no code of it (1, 2)"),
        ("gender", "F", "'F' is no code"),
        ("race", "3", "'3' is no code"),
        ("SmokCigNow", "2", "column SmokCigNow: '2' is no code of it (0, 1)"),
        ("FEV1pp_utah", "-1", "column FEV1pp_utah: -1 is less than or equal to the minimum of 0 (for fev1pp)"),
        ("FEV1pp_utah", "inf", "'inf' is not of type 'number'"),
        ("FEV1pp_utah", "71,5", "'71,5' is not of type 'number'"),
        ("FEV1_FVC_utah", "61", "61 is greater than the maximum of 1"),
        ("Exacerbation_Frequency", "1.5", "1.5 is not of type 'integer'"),
        ("Exacerbation_Frequency", "-1", "-1 is less than the minimum of 0"),
    ],
)
def test_an_unknown_code_names_file_column_subject_and_value(study, column, cell, told):
    study.pheno(**{column: cell})
    text = study.refused()
    assert told in text
    assert f"{study.tables['pheno']}, column {column}: " in text
    assert "10002K (line 2)" in text


def test_all_faults_are_told_at_once_and_grouped(study):
    names = [f"1{number:04d}A" for number in range(8)]
    study.write("pheno", *(PHENO | {"sid": name, "gender": "9", "race": "9"} for name in names))
    for name in names:
        study.scan(f"{name}_INSP_STD_BWH_COPD.nrrd")
    faults = study.refused().splitlines()
    assert len(faults) == 3
    assert faults[1].endswith(
        "10000A (line 2), 10001A (line 3), 10002A (line 4), 10003A (line 5), 10004A (line 6) and 3 more"
    )


def test_a_column_in_another_unit_does_not_fill_the_screen(study):
    names = [f"1{number:04d}A" for number in range(30)]
    rows = [PHENO | {"sid": name, "FEV1_FVC_utah": f"{40 + place}"} for place, name in enumerate(names)]
    study.write("pheno", *rows)
    for name in names:
        study.scan(f"{name}_INSP_STD_BWH_COPD.nrrd")
    *faults, last = study.refused().splitlines()
    assert len(faults) == 11
    assert last.endswith("column FEV1_FVC_utah: 20 more values are not allowed")


def test_a_column_without_a_value_is_as_good_as_missing(study):
    study.write("visual", *(VISUAL | {"sid": name, "Emph_Severity": "NA"} for name in IDS))
    assert "0 values, 3 empty; CLE of Tables 2, 6, 8 and 9 will have no n" in study.run()
    assert study.frame()["cle"].isna().all()


def test_the_configuration_fits_the_table(study):
    config = yaml.safe_load((ROOT / "config" / "copdgene.yaml").read_text(encoding="utf-8"))
    atlas = config["atlases"]["healthy"]["participant"]
    config["atlases"]["unhealthy"]["participant"] = IDS[0]  # the file names nobody: it is the user's to choose
    study.write("pheno", *(PHENO | {"sid": name, "finalGold": "0"} for name in (*IDS, atlas)))
    study.scan(f"{atlas}/Phase-1/{atlas}_INSP_STD_JHU_COPD.nii.gz")
    study.run()
    ids = [row["participant_id"] for row in read_participant_rows(study.target)]
    check_participants(config, {"copdgene": dict.fromkeys([*ids, *(f"more-{number}" for number in range(200))], "")})


def test_never_smoked_and_smoking_now_contradict(study):
    study.pheno(finalGold="-2", SmokCigNow="1")
    assert "column finalGold: -2 means smoking_status never: 10002K (SmokCigNow says current)" in study.refused()


def test_a_former_smoker_who_is_said_to_have_never_smoked_stays_one_with_a_warning(study, caplog):
    study.pheno(finalGold="-2", smoking_status="1")
    text = study.run()
    assert study.frame().loc["10002K", "smoking_status"] == "former"
    assert "column finalGold: -2 means smoking_status never; kept as the column itself says: 10002K" in caplog.text
    assert "1 kept against finalGold: -2 means smoking_status never" in text


@pytest.mark.parametrize(
    ("pack_years", "smoking"),
    [("0", "never"), ("0.0", "never"), ("12.5", "former"), ("NA", None)],
)
def test_without_a_stage_the_pack_years_tell_who_never_smoked(study, pack_years, smoking):
    study.pheno(finalGold="", SmokCigNow="0", ATS_PackYears=pack_years)
    text = study.run()
    found = study.frame().loc["10002K", "smoking_status"]
    assert (None if found != found else found) == smoking
    assert ("1 with 0, who may be never too: empty" in text) == (smoking is None)


def test_who_has_a_stage_has_smoked_and_who_smokes_does_so_without_pack_years(study):
    study.pheno(finalGold="0", SmokCigNow="0", ATS_PackYears="0")
    study.run()
    assert study.frame().loc["10002K", "smoking_status"] == "former"
    study.pheno(finalGold="", SmokCigNow="1", ATS_PackYears="0")
    study.run(overwrite=True)
    assert study.frame().loc["10002K", "smoking_status"] == "current"


def test_deaths_and_incomplete_follow_up(study):
    study.write(
        "mortality",
        MORTALITY | {"vital_status": "1"},
        MORTALITY | {"sid": "10003M", "days_followed": ""},
        MORTALITY | {"sid": "10004O", "vital_status": "", "days_followed": "10"},
    )
    text = study.run()
    frame = study.frame()
    assert frame["died"].tolist()[0] == 1
    assert frame[["died", "followup_days"]].iloc[1:].isna().all(axis=None)
    assert "1 values, 2 empty; 1 without followup_days: empty" in text


def test_days_without_vital_status_are_no_survival(study):
    study.write("mortality", *({"sid": name, "days_followed": "9"} for name in IDS))
    text = study.run()
    assert "3 without died: empty" in text
    assert "died              looked for vital_status in mortality.txt; no survival: Table 3 will have no n" in text
    assert study.frame()["followup_days"].isna().all()


def test_missing_columns_and_tables_are_explained(study):
    del study.tables["mortality"], study.tables["visual"]
    study.write("pheno", *({"sid": name, "finalGold": "0"} for name in IDS))
    text = study.run()
    missing = text.split("columns missing\n")[1]
    assert (
        "fev1pp            looked for FEV1pp_utah, FEV1pp_post in pheno.txt; FEV1pp of Tables 2, 6, 8 and 9" in missing
    )
    assert "followup_days     no table (no --mortality given); no survival: Table 3 will have no n" in missing
    assert (
        "cle               looked for Emph_Severity, CT_Visual_Emph_Severity in pheno.txt (no --visual given)"
        in missing
    )
    assert len(missing.splitlines()) == len(read_rules()["columns"]) - 1
    assert study.frame()["gold"].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "style",
    [
        {"suffix": ".csv", "delimiter": ","},
        {"suffix": ".csv", "newline": "\r\n", "encoding": "utf-8-sig", "delimiter": ","},
        {"newline": "\r\n", "encoding": "utf-8-sig"},
        {"suffix": ".csv"},  # by the header, not by the suffix
    ],
)
def test_delimiters_byte_order_marks_and_line_ends(study, style):
    for role, row in (("pheno", PHENO), ("visual", VISUAL), ("mortality", MORTALITY)):
        study.write(role, *(row | {"sid": name} for name in IDS), **style)
    study.run()
    assert study.frame()["died"].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("sid\tname\n10002K\tM\u00fcller\n".encode("latin-1"), "not UTF-8 (line 2, byte 17)"),
        (b"", "neither tabulators nor commas in the first line"),
        (b"sid;gender\n10002K;1\n", "neither tabulators nor commas"),
        (b"sid\tgender\n", "no line below the header"),
        (b"sid\tgender\n10002K\n", "lines without the header's 2 cells: line 2 (1)"),
        (b"sid\tgender\tGENDER\n10002K\t1\t2\n", "column 'gender' appears 2 times"),
        (b'sid,gender\n10002K,"1\n10003M,2\n', "unexpected end of data: mend the quotation marks"),
        (
            b"sid\tgender\n10002 K\t1\n",
            "column sid: not letters, digits, _ and -, a letter or digit first: '10002 K' (line 2)",
        ),
        (b"sid\tgender\n\t1\n", "'' (line 2)"),
        (b"Subject\tgender\n10002K\t1\n", "No key joins the tables (sid or rand_id)"),
        (
            b"sid\tgender\n10002K\t1\n10002K\t1\n",
            "several rows of one subject, no column (visitnum) says",
        ),
        (b"sid\tvisitnum\n10002K\t1\n10002K\t1\n", "several rows of one subject, all of visit 1: 10002K (lines 2, 3)"),
        (b"sid\tvisitnum\n10002K\t\n", "not one of the visits 1, 2, 3 (visit in --rules): '' of 10002K (line 2)"),
    ],
)
def test_unreadable_tables(study, content, told):
    path = study.tables["pheno"]
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    text = study.refused()
    assert told in text
    assert str(path) in text


def test_the_rows_of_phase_1_are_taken_where_a_column_tells(study):
    second = PHENO | {"visitnum": "2", "gender": "9"}  # a code that would be refused
    rows = [PHENO | {"sid": name, "visitnum": "1.0"} for name in IDS[:2]]
    study.write("pheno", second, *rows, second | {"sid": "10004O"}, second | {"sid": "10003M", "visitnum": "3"})
    text = study.run()
    assert study.frame().index.tolist() == list(IDS[:2])
    assert "2 subjects; 3 rows of other visits are not used; 1 subjects without a row of the visit are left out" in text
    assert study.left_out() == {"10004O": "no row of the visit 1 in pheno.txt"}


def test_subjects_of_one_table_only_are_counted(study):
    study.write("visual", VISUAL, VISUAL | {"sid": "99999Z"})
    text = study.run()
    assert "visual: visual.txt, 2 subjects; 1 not in pheno.txt; 2 of pheno.txt not in it, their cells are empty" in text
    assert study.left_out() == {"99999Z": "in visual.txt, not in pheno.txt"}
    assert study.frame()["cle"].notna().tolist() == [True, False, False]


def test_newer_names_suffixes_and_order_of_preference(study):
    row = {
        "RAND_ID": "A1",
        "sid": "10002K",
        "finalgold_visit": "3",
        "FEV1pp_post_P1": "40",
        "FEV1pp_post_P2": "30",
        "smoking_status_P1": "2",
        "SmokCigNow_P1": "0",
        "CT_Visual_Emph_Severity_P1": "5",
        "pctEmph_Thirona": "8",
    }
    study.write("pheno", row)
    study.write("mortality", {"rand_id": "A1", "vital_status": "1", "days_followed": "12"})
    del study.tables["visual"]
    text = study.run()
    row = study.frame().loc["A1"].dropna().to_dict()
    assert row["image"].endswith("10002K_INSP_STD_BWH_COPD.nrrd")
    assert {name: row[name] for name in ("gold", "fev1pp", "smoking_status", "cle", "laa950_pct", "died")} == {
        "gold": 3,
        "fev1pp": 40,
        "smoking_status": "current",
        "cle": 5,
        "laa950_pct": 8,
        "died": 1,
    }
    assert "joined by rand_id" in text
    assert "not used: pheno.txt SmokCigNow_P1" in text


def test_two_subjects_with_one_image_key_are_refused(study):
    study.write("pheno", {"rand_id": "A1", "sid": "10002K"}, {"rand_id": "A2", "sid": "10002K"})
    study.tables = {"pheno": study.tables["pheno"]}
    rules = yaml.safe_load(COPDGENE.read_text(encoding="utf-8")) | {"keys": ["rand_id"]}
    path = study.folder / "rules.yaml"
    path.write_text(yaml.safe_dump(rules), encoding="utf-8")
    assert "several subjects share one sid: A1 (10002K), A2 (10002K)" in study.refused(rules=path)


def test_a_table_is_not_replaced_unasked(study):
    study.run()
    study.pheno(finalGold="-1")
    with pytest.raises(InputError, match="exists, perhaps with exclusions filled in by hand"):
        study.run()
    study.run(overwrite=True)
    assert study.frame()["gold"].tolist() == [-1, 2, 2]
    study.target = study.folder / "participants.csv"
    assert "ends in .tsv" in study.refused()


def test_the_command(study):
    arguments = [f"--{role}={path}" for role, path in study.tables.items()] + [f"--images={study.images}"]
    result = CliRunner().invoke(app, ["cohort", "copdgene", *arguments, "-o", str(study.target)])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{study.target}: 3 participants\n")
    again = CliRunner().invoke(app, ["cohort", "copdgene", *arguments, "-o", str(study.target)])
    assert (again.exit_code, again.stdout) == (2, "")
    assert again.stderr.startswith(f"Error: {study.target} exists")
    arguments.append("--overwrite")
    assert CliRunner().invoke(app, ["cohort", "copdgene", *arguments, "-o", str(study.target)]).exit_code == 0
