"""Put all that was found on one page."""

from pathlib import Path

from _job import run

from drasclr_core.base.files import atomic_path
from drasclr_core.report.content import Report, read_figure, read_table, read_training, render_report
from drasclr_core.report.flow import read_flow
from drasclr_core.report.versions import git_commit, package_versions, page_date


def main(job):
    flows = zip(job.input.flows, job.input.exclusions, job.input.landmarks, strict=True)
    report = Report(
        title="DrasCLR: what was found",
        flows=[read_flow(*paths) for paths in flows],
        tables=[read_table(path) for path in job.input.tables],
        figures=[read_figure(path) for path in job.input.figures],
        trainings=[read_training(path) for path in job.input.trainings],
        config=job.params.config,
        versions=package_versions(),
        date=page_date(),
        commit=git_commit(Path(__file__).parent),
    )
    with atomic_path(job.output.report) as partial:
        partial.write_text(render_report(report), encoding="utf-8")


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
