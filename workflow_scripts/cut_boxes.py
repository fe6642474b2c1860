"""Cut the patches of annotated boxes and of healthy places."""

from functools import lru_cache
from pathlib import Path

from _job import run

from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.atlas.subject import Subject
from drasclr_core.base.files import read_json
from drasclr_core.base.tables import whole
from drasclr_core.cohort.boxes import choose_healthy, healthy_ids, read_boxes, usable_boxes
from drasclr_core.cohort.flow import read_included
from drasclr_core.cohort.folds import read_folds
from drasclr_core.cohort.persons import persons_of
from drasclr_core.cohort.table import read_participant_rows
from drasclr_core.detect.patches import cut_boxes, write_box_patches


def main(job):
    stages = zip(job.input.ingest, job.input.segment, job.input.register, strict=True)
    folders = {Path(paths[0]).name: [Path(path) for path in paths] for paths in stages}
    subject_of = lru_cache(maxsize=1)(lambda name: Subject(name, *folders[name]))  # the volumes of all would not fit
    rows, included = read_participant_rows(whole(job.input.participants)), read_included(job.input.included)
    boxes = read_boxes(whole(job.input.boxes) if job.params.source["phantom"] else job.input.boxes)
    used, left_out = usable_boxes(boxes, included, [row["participant_id"] for row in rows])
    chosen = choose_healthy(healthy_ids(rows), {box.participant_id for box in boxes}, **job.params.settings)
    healthy = [name for name in chosen if name in included]
    grid, folds = LandmarkGrid.from_json(read_json(job.input.landmarks)), read_folds(job.input.folds)
    persons = persons_of([row["participant_id"] for row in rows], [row.get("person") for row in rows])
    patches = cut_boxes(used, healthy, subject_of, grid, folds, persons, **job.params.settings, left_out=left_out)
    write_box_patches(job.output.patches, patches)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
