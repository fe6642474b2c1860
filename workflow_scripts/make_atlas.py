"""Make an atlas of a lung mask."""

from _job import run

from drasclr_core.atlas.atlas import read_atlas_mask, write_atlas


def main(job):
    write_atlas(read_atlas_mask(job.input.source, job.params.settings["spacing_mm"]), job.output.mask)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
