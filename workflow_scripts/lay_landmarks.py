"""Lay the landmark grid on an atlas."""

from _job import run

from drasclr_core.atlas.atlas import write_landmarks
from drasclr_core.scan.images import read_image


def main(job):
    mask = read_image(job.input.mask)
    write_landmarks(mask, job.output.landmarks, job.input.corners or None, **job.params.settings)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
