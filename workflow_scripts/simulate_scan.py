"""Simulate the scan of one phantom."""

from _job import run

from drasclr_core.base.files import run_subject_stage
from drasclr_core.phantom.simulate import simulate_subject
from drasclr_core.scan.images import write_image


def main(job):
    seed, spacing_mm = job.params.settings["seed"], tuple(job.params.settings["spacing_mm"])

    def work(folder):
        phantom = simulate_subject(job.wildcards.id, seed, spacing_mm)
        for name in ("ct", "truth", "lungs"):
            write_image(getattr(phantom, name), folder / f"{name}.nii.gz")
        return {"row": phantom.row, "burdens": dict(phantom.burdens), "boxes": phantom.boxes}

    run_subject_stage(job.output.scan, "simulate", job.wildcards.id, [], work)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
