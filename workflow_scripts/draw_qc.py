"""Draw some subjects of a cohort."""

from pathlib import Path

from _job import run

from drasclr_core.qc.subjects import SubjectFiles, draw_subjects, read_atlas


def main(job):
    folders = zip(job.params.scans.items(), job.input.segment, job.input.register, strict=True)
    subjects = [
        SubjectFiles(name, Path(scan), Path(segment), Path(register)) for (name, scan), segment, register in folders
    ]
    draw_subjects(subjects, read_atlas(job.input.mask, job.input.landmarks), job.output.pictures)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
