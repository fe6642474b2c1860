"""Put the masks of a cohort into figures."""

from _job import run

from drasclr_core.cohort import read_participant_rows
from drasclr_core.detection_masks import summarise_masks
from drasclr_core.flow import read_included
from drasclr_core.io import write_json
from drasclr_core.own_tables import whole


def main(job):
    rows, included = read_participant_rows(whole(job.input.participants)), set(read_included(job.input.included))
    gold = {row["participant_id"]: float(row["gold"]) for row in rows if row.get("gold")}
    write_json(job.output.summary, summarise_masks(job.input.masks, gold, included, job.params.subjects))


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
