"""Fine-tune on parts of the annotations, from the trained weights and from scratch.

Finished points lie in work/ until all are: a job that was broken off goes on.
"""

import shutil
from pathlib import Path

from _job import run

from drasclr_core.base.files import write_json
from drasclr_core.config.checks import digest
from drasclr_core.detect.finetune import FinetuneSettings
from drasclr_core.detect.finetuned import evaluate_transfer
from drasclr_core.detect.patches import read_box_patches
from drasclr_core.model.folder import load_model_to


def main(job):
    sliding, settings = job.params.sliding, FinetuneSettings(**job.params.settings)
    model = load_model_to(Path(job.input.model).parent, sliding["device"], sliding["threads"], sliding["features"])
    patches, common = read_box_patches(job.input.patches), {**job.params.judged, "run": job.wildcards.run}
    # Patches that were made again are others.
    made = Path(job.input.patches, "zarr.json").stat().st_mtime_ns
    work = Path("work") / digest([job.output.centrilobular, vars(job.params), made, model.identity])
    steps = {"stride": sliding["stride"], "block": sliding["block"]}
    found = evaluate_transfer(model, patches, settings, job.params.fractions, **steps, work=work, **common)
    for path, curve in zip((job.output.centrilobular, job.output.paraseptal), found, strict=True):
        write_json(path, curve)
    shutil.rmtree(work)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
