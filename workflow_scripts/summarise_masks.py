"""Put the masks of a cohort into figures."""

from _job import run

from drasclr_core.base.files import write_json
from drasclr_core.base.tables import whole
from drasclr_core.cohort.flow import read_included
from drasclr_core.cohort.table import read_participant_rows
from drasclr_core.detect.masks import summarise_masks


def main(job):
    rows, included = read_participant_rows(whole(job.input.participants)), set(read_included(job.input.included))
    gold = {row["participant_id"]: float(row["gold"]) for row in rows if row.get("gold")}
    write_json(job.output.summary, summarise_masks(job.input.masks, gold, included, job.params.subjects))


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
