"""Detect emphysema by a linear classifier on frozen features of patches."""

from pathlib import Path

from _job import run

from drasclr_core.base.files import write_json
from drasclr_core.detect.linear import evaluate_linear
from drasclr_core.detect.patches import read_box_patches
from drasclr_core.detect.windows import values_of_run
from drasclr_core.model.folder import load_model_to


def main(job):
    sliding = job.params.sliding
    read = (sliding["device"], sliding["threads"], sliding["features"])
    model = load_model_to(Path(job.input.model).parent, *read) if job.input.model else None
    values = values_of_run(model, **job.params.run, block=sliding["block"])
    told = {"run": job.wildcards.run, **(model.provenance if model else {"warnings": []})}
    patches, common = read_box_patches(job.input.patches), {**job.params.judged, **told}
    found = evaluate_linear(values, patches, stride=sliding["stride"], **common)
    for path, evaluation in zip((job.output.centrilobular, job.output.paraseptal), found, strict=True):
        write_json(path, evaluation)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
