"""What a workflow says on the terminal, from the records that Snakemake's logger plugins get."""

import io
import logging

import pytest

from drasclr_core.base.tables import write_rows
from drasclr_core.cohort.flow import EXCLUSION_COLUMNS
from drasclr_core.workflow.progress import WorkflowProgress, duration, usual_seconds
from drasclr_core.workflow.terminal import Terminal

CUT = {"cohort": "phantom", "atlas": "healthy", "id": "phantom-003"}


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def progress_of(clock, **jobs):
    progress = WorkflowProgress({"train": 600.0, "cut": 10.0}, clock)
    progress.plan(jobs)
    return progress


def begin(progress, number, rule, wildcards=None, inputs=(), outputs=(), log=()):
    progress.start(number, rule, wildcards or {}, list(inputs), list(outputs), list(log))


def test_the_time_left_is_that_of_the_jobs_left_by_as_many_as_ran_at_a_time(clock):
    progress = progress_of(clock, cut=10)
    for number in (1, 2):
        begin(progress, number, "cut")
    clock.now = 4.0
    progress.end(1)
    progress.end(2)
    # Eight jobs of 4 s as measured, two at a time, whatever was expected.
    assert progress.seconds_left() == 16.0


def test_no_workflow_ends_before_its_longest_job(clock):
    progress = progress_of(clock, cut=4, train=1)
    for number in range(4):
        begin(progress, number, "cut")
    clock.now = 2.0
    for number in range(4):
        progress.end(number)
    assert progress.seconds_left() == 600.0  # as expected: none has run
    begin(progress, 5, "train")
    clock.now = 402.0
    assert progress.seconds_left() == 200.0


def test_a_jobs_log_tells_how_far_it_is(clock, tmp_path):
    log = tmp_path / "train.log"
    log.write_text("step 10 of 400: loss 3\nstep 100 of 400: loss 2\n")
    progress = progress_of(clock, train=1)
    begin(progress, 1, "train", {"atlas": "healthy", "run": "drasclr"}, log=[str(log)])
    clock.now = 50.0
    assert progress.seconds_left() == 150.0
    assert progress.line() == "0 of 1 jobs, about 2 min left: train drasclr step 100/400"
    log.write_text("resumed at step 300 of 400\nstep 350 of 400: loss 2\n")  # 50 steps in 50 s, 50 are left
    assert progress.seconds_left() == 50.0
    log.unlink()  # it has not begun to write
    assert progress.line() == "0 of 1 jobs: train drasclr"


def test_many_jobs_of_a_rule_are_counted(clock):
    progress = progress_of(clock, cut=5, train=1)
    for number in range(4):
        begin(progress, number, "cut", {**CUT, "id": f"phantom-{number}"})
    begin(progress, 9, "train", {"run": "drasclr"})
    assert progress.line() == "0 of 6 jobs: 4 cut, train drasclr"


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.2, "1 s"), (29, "29 s"), (59, "1 min"), (3540, "59 min"), (7260, "2 h 1 min")]
)
def test_durations_are_words(seconds, told):
    assert duration(seconds) == told


def test_made_is_what_was_asked_for(clock):
    progress = progress_of(clock, a=1, b=1, c=1)
    begin(progress, 1, "a", outputs=["results/c/x", "results/c/beside"])
    begin(progress, 2, "b", inputs=["results/c/x"], outputs=["results/c/model", "results/table.csv"])
    for number in (1, 2):
        progress.end(number)
    assert progress.made() == ["results/table.csv"]
    begin(progress, 3, "target", inputs=["results/c/model"])
    progress.end(3)
    assert progress.made() == ["results/c/model", "results/table.csv"]


def test_without_a_target_made_is_what_nothing_read(clock):
    progress = progress_of(clock, a=1, b=1)
    begin(progress, 1, "a", outputs=["results/c/x"])
    begin(progress, 2, "b", inputs=["results/c/x"], outputs=["results/c/model"])
    progress.end(1)
    progress.end(2)
    assert progress.made() == ["results/c/model"]


def test_a_plans_seconds_are_those_of_one_job_on_its_cores():
    from drasclr_core.workflow.plan import Plan, Stage

    config = {"pretrain": {"processes": 2, "cpu_threads": 4}}
    cut = Stage("cut", 30, 0, 1.0, 0.0, 0, 0, True, 0)
    for gpu_hours, seconds in ((0.0, 8 / 8 * 3600 / 2), (8.0, 8 / 2 * 3600 / 2)):
        train = Stage("pretrain_encoder", 2, 0, 8.0, gpu_hours, 0, 0, True, 0)
        plan = Plan(1, 1, 1, 1, (cut, train), ())
        assert usual_seconds(plan, config) == {"cut": 120.0, "pretrain_encoder": seconds}


class Shown:
    """A terminal, and what stands on it."""

    def __init__(self, stream=None):
        self.stream, self.logger = stream or io.StringIO(), logging.Logger("snakemake")
        self.terminal = Terminal(self.stream, WorkflowProgress({}))
        self.logger.addHandler(self.terminal)

    def event(self, event, level=logging.INFO, **told):
        self.logger.log(level, told.pop("text", None), extra={"event": event, **told})

    def job(self, number, log=()):
        files = {"input": [], "output": [f"results/{number}.csv"], "log": list(log)}
        self.event("job_info", jobid=number, rule_name="cut", wildcards=CUT, **files)

    def fail(self, number, log=(), message=None):
        told = {"jobid": number, "rule_name": "cut", "rule_msg": message, "log": list(log), "shellcmd": "{json}"}
        self.event("job_error", logging.ERROR, **told)

    def text(self):
        self.terminal.close()
        self.terminal.close()  # logging closes every handler once more when Python ends
        return self.stream.getvalue()


@pytest.fixture
def shown():
    shown = Shown()
    shown.event("run_info", stats={"cut": 2, "total": 2})
    return shown


def test_a_workflow_that_ends_well_says_what_it_made(shown):
    shown.logger.info("Select jobs to execute...")
    for number in (1, 2):
        shown.job(number)
        shown.event("job_finished", job_id=number)
        shown.event("progress", done=number, total=2)
    lines = shown.text().splitlines()
    assert lines == ["2 jobs to do: 2 cut", "Done: 2 jobs in 1 s. Made:", "    results/1.csv", "    results/2.csv"]


def test_exclusions_are_not_passed_over(shown, tmp_path):
    path = tmp_path / "exclusions.tsv"
    write_rows(path, EXCLUSION_COLUMNS, [("x", "ingest", "why,\nin two lines")])
    for number, output in ((1, str(path)), (2, "results/table.csv")):
        shown.event("job_info", jobid=number, rule_name="a", wildcards={}, input=[], output=[output], log=[])
        shown.event("job_finished", job_id=number)
    assert f"Left out: 1 scan, see {path}\n" in shown.text()


def test_a_failed_job_is_named_with_its_reason_and_log(shown, tmp_path):
    log = tmp_path / "cut.log"
    log.write_text("Traceback\ndrasclr_core.base.errors.DamagedError: x.nii.gz is damaged: remove it\n")
    shown.job(1, log=[str(log)])
    shown.fail(1, log=[str(log)], message="SLURM status is: 'TIMEOUT'")
    shown.logger.error("RuleException:\nCalledProcessError in file x: {json}")
    shown.logger.info("Complete log(s): /there/snakemake.log")
    failed, message, reason, where, end = shown.text().splitlines()[1:]
    assert failed == "failed: cut phantom-003"
    assert message == "    SLURM status is: 'TIMEOUT'"
    assert (reason, where) == ("    x.nii.gz is damaged: remove it", f"    log: {log}")
    assert end.startswith("Ended after 0 of 2 jobs in 1 s, 1 failed. The same command goes on where it stopped. ")
    assert end.endswith("/there/snakemake.log")


def test_a_training_that_stops_with_a_checkpoint_has_not_failed(shown, tmp_path):
    log = tmp_path / "train.log"
    log.write_text("stopped with a checkpoint at step 3 of 9: the same command goes on\n")
    shown.job(1, log=[str(log)])
    shown.fail(1, log=[str(log)])
    text = shown.text()
    assert "stopped: cut phantom-003\n" in text
    assert "failed" not in text


def test_what_ctrl_c_ends_has_not_failed(shown):
    shown.job(1)
    told = "Terminating processes on user request, this might take some time."
    shown.logger.info(told)
    shown.fail(1)
    lines = shown.text().splitlines()
    assert lines[1:3] == [told, "stopped: cut phantom-003"]
    assert lines[3].startswith("Stopped after 0 of 2 jobs in 1 s. The same command goes on")


def test_what_is_not_known_is_shown(shown):
    shown.logger.warning("something new")
    shown.event("error", logging.ERROR, text="WorkflowError: out of disk")
    shown.event("resources_info", text="Provided cores: 2")
    assert shown.text().splitlines()[1:3] == ["something new", "WorkflowError: out of disk"]


def test_a_start_with_nothing_to_do_says_only_that():
    shown = Shown()
    shown.logger.info("Nothing to be done (all requested files are present and up to date).")
    assert shown.text() == "Nothing to be done (all requested files are present and up to date).\n"


class Gone(io.StringIO):
    """A terminal that was closed, a pipe that nobody reads."""

    def write(self, _):
        raise BrokenPipeError


def test_the_work_goes_on_when_the_terminal_is_gone():
    shown = Shown(Gone())
    shown.event("run_info", stats={"cut": 1, "total": 1})
    shown.terminal._tell()
    shown.job(1)  # a lock that was left held would block here
    shown.event("job_finished", job_id=1)
    shown.terminal.close()


def test_the_reason_is_that_of_our_error_not_a_note_or_a_page_behind_it(shown, tmp_path):
    log = tmp_path / "cut.log"
    log.write_text(
        "OSError: [Errno 28] No space left\n\nThe above exception was the direct cause:\n"
        "[rank1]: drasclr_core.base.errors.InputError: is the disk full?\n"
        "phantom-002 failed in ingest. If it does every time, leave it out.\ntorch.distributed: exitcode 1\n"
    )
    shown.job(1)
    shown.fail(1, log=[str(log)])
    assert "\n    is the disk full?\n" in shown.text()


def test_else_it_is_that_of_any_error(shown, tmp_path):
    log = tmp_path / "cut.log"
    log.write_text("Traceback\nOSError: [Errno 28] No space left\nphantom-002 failed in ingest.\n")
    shown.fail(1, log=[str(log)])
    assert "\n    OSError: [Errno 28] No space left\n" in shown.text()
