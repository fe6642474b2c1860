"""Slide the fine-tuned detectors over one subject's lungs."""

from pathlib import Path

from _job import run

from drasclr_core.atlas.subject import Subject
from drasclr_core.base.files import run_subject_stage
from drasclr_core.cohort.folds import read_folds
from drasclr_core.detect.finetuned import load_detectors
from drasclr_core.detect.masks import mask_subject
from drasclr_core.model.folder import load_model_to


def main(job):
    name, upstream = job.wildcards.id, [job.input.volume, job.input.lungs, job.input.transform]
    steps = dict(job.params.sliding)
    device = steps.pop("device")

    # Outside the stage: a broken model or detector would exclude everybody. One thread, whatever the cores: the last
    # bits depend on it, and many subjects run beside each other.
    model = load_model_to(Path(job.input.model).parent, device, threads=1)
    fold = read_folds(job.input.folds)[name]
    detectors = load_detectors(Path(job.input.detectors).parent, fold, model)

    def work(folder):
        subject = Subject(name, *map(Path, upstream))
        truth = Path(job.input.phantom) / "truth.nii.gz" if job.input.phantom else None
        return {"fold": fold, **mask_subject(subject, detectors, folder, truth=truth, **steps)}

    run_subject_stage(job.output.masks, "dense", name, upstream, work)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
