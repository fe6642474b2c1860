"""Classify patches by features with their own location, and with that of another place in the lungs."""

from pathlib import Path

from _job import run

from drasclr_core.base.files import write_json
from drasclr_core.detect.linear import evaluate_location
from drasclr_core.detect.patches import read_box_patches
from drasclr_core.model.folder import load_model_to
from drasclr_core.scan.images import read_image


def main(job):
    sliding = job.params.sliding
    model = load_model_to(Path(job.input.model).parent, sliding["device"], sliding["threads"], sliding["features"])
    told = {"run": job.wildcards.run, **model.provenance}
    patches, common = read_box_patches(job.input.patches), {**job.params.judged, **told}
    found = evaluate_location(model, patches, read_image(job.input.atlas), **common)
    for path, evaluation in zip(job.output.evaluations, found, strict=True):
        write_json(path, evaluation)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
