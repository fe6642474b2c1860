"""Detect emphysema by a linear classifier on frozen features of patches."""

from functools import partial

from _job import run

from drasclr_core.box_patches import read_box_patches
from drasclr_core.box_windows import model_values, plain_values
from drasclr_core.detection_linear import evaluate_linear
from drasclr_core.io import write_json
from drasclr_core.model_folder import load_model_to


def main(job):
    sliding, method = job.params.sliding, job.params.run
    values = partial(plain_values, method["name"], **method["params"])
    if job.input.model:
        model = load_model_to(job.input.model, sliding["device"], sliding["threads"])
        values = partial(model_values, model, block=sliding["block"])
    told = {"run": job.wildcards.run, "warnings": model.warnings if job.input.model else []}
    patches, common = read_box_patches(job.input.patches), {**job.params.judged, **told}
    found = evaluate_linear(values, patches, stride=sliding["stride"], **common)
    for path, evaluation in zip((job.output.centrilobular, job.output.paraseptal), found, strict=True):
        write_json(path, evaluation)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
