"""The one job that evaluates a run."""

import json
import subprocess
import sys

from toy_labels import cohort
from workflow_run import ROOT

from drasclr_core import __version__
from drasclr_core.cohort.folds import write_folds
from drasclr_core.cohort.table import write_participants
from drasclr_core.config.tasks import TASKS
from drasclr_core.evaluate.probes import evaluate_task

RECORD = {"model": {"warnings": ["the training collapsed"]}}


def test_a_job_writes_each_task_as_if_it_were_evaluated_alone(tmp_path):
    participants, features, folds = cohort(count=30)
    table = participants.assign(image="scan.nii.gz").astype(object)
    write_participants(table.where(table.notna(), None).to_dict("records"), tmp_path / "participants.tsv")
    write_folds(folds, tmp_path / "folds.tsv")
    (tmp_path / "features").mkdir()
    features.to_parquet(tmp_path / "features/features.parquet", index=False)
    (tmp_path / "features/record.json").write_text(json.dumps(RECORD), encoding="utf-8")
    job = {
        "input": {"participants": "participants.tsv", "folds": "folds.tsv", "features": "features"},
        "output": {"evaluations": [f"eval/{task}.json" for task in TASKS]},
        "params": {"readout": "plain", "seed": 3},
        "wildcards": {"run": "drasclr/seed-1"},
    }
    command = [sys.executable, str(ROOT / "workflow_scripts/evaluate_run.py"), json.dumps(job)]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    for task in TASKS:
        alone = evaluate_task(task, participants, features, folds, run="drasclr/seed-1", readout="plain", seed=3)
        assert alone["reason"] is None
        told = json.loads((tmp_path / f"eval/{task}.json").read_text(encoding="utf-8"))
        record = {"warnings": ["the training collapsed"], "features": RECORD, "drasclr": __version__}
        assert told == {**json.loads(json.dumps(alone)), **record}
