"""Set the probes of true disease as one table, a row per run, disease and seed."""

from _job import run

from drasclr_core.base.files import atomic_path, read_json
from drasclr_core.report.tables import table_csv
from drasclr_core.report.tables_known_truth import known_truth


def main(job):
    with atomic_path(job.output.csv) as partial:
        partial.write_text(table_csv(known_truth(*map(read_json, job.input.probes))), encoding="utf-8")


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
