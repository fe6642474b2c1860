"""Make an atlas of a lung mask and lay the landmark grid on it."""

from _job import run

from drasclr_core.atlas import read_atlas_mask, write_atlas


def main(job):
    mask = read_atlas_mask(job.input.source, job.params.spacing_mm)
    write_atlas(mask, job.output.mask, job.output.landmarks, job.input.corners or None, **job.params.settings)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
