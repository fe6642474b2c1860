"""Deal all participants of a cohort into cross-validation folds."""

from _job import run

from drasclr_core.cohort.folds import assign_folds, write_folds


def main(job):
    folds = assign_folds(job.params.ids, **job.params.settings, persons=job.params.persons)
    write_folds(folds, job.output.folds)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
