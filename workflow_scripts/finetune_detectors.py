"""Fine-tune the detectors of both subtypes, one per fold, and judge them."""

from pathlib import Path

from _job import run

from drasclr_core.base.files import atomic_directory, write_json
from drasclr_core.detect.finetune import FinetuneSettings
from drasclr_core.detect.finetuned import evaluate_finetuned
from drasclr_core.detect.patches import read_box_patches
from drasclr_core.model.files import write_sums
from drasclr_core.model.folder import load_model_to


def main(job):
    sliding, settings = job.params.sliding, FinetuneSettings(**job.params.settings)
    model = load_model_to(Path(job.input.model).parent, sliding["device"], sliding["threads"], sliding["features"])
    told = {"run": job.wildcards.run, **model.provenance}
    patches, common = read_box_patches(job.input.patches), {**job.params.judged, **told}
    steps = {"stride": sliding["stride"], "block": sliding["block"]}
    # The sums, written last, are the output: Snakemake deletes an output before its job starts, and the rest stays
    # until the new detectors take its place.
    with atomic_directory(Path(job.output.detectors).parent) as folder:
        found = evaluate_finetuned(model, patches, settings, folder, **steps, **common)
        write_sums(folder, [path.relative_to(folder).as_posix() for path in sorted(folder.glob("*/*"))])
    for path, evaluation in zip((job.output.centrilobular, job.output.paraseptal), found, strict=True):
        write_json(path, evaluation)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
