"""What a running workflow says on the terminal: how far it is, what failed and where its log lies, what was made.

Snakemake's own fifteen lines a job stay in its log file. Its records are read as its logger plugins read them
(snakemake-interface-logger-plugins): by an attribute ``event``, and others that the event has.
"""

import logging
import re
import shutil
import threading
from collections.abc import Mapping
from typing import Any, TextIO

from drasclr_core.base.words import counted
from drasclr_core.workflow.progress import WorkflowProgress, duration, log_tail

_EVERY_S = 45.0
_SHARE = 0.15
"""Of the time so far, that may pass without a line: a workflow of days is told of by the hour."""

_SHOWN = 12
_OUR_ERROR = re.compile(r"\bdrasclr_core\.[\w.]*Error: (?P<told>.*)")
_ANY_ERROR = re.compile(r"^(?:\[rank\d+\]: ?)?(?P<told>[\w.]*(?:Error|Exception|Interrupt|Exit)\b.*)")
_CHECKPOINTED = "stopped with a checkpoint"  # the last words of a training that goes on when it is started again
_PASSING = re.compile(
    "Assuming unrestricted shared filesystem|Building DAG of jobs|Using shell:|Provided |Rules claiming more threads|"
    "host: |Conda environments: ignored|Singularity containers: ignored|Group jobs: inactive|Select jobs to execute|"
    r"Execute \d+ jobs|Elapsed time: |Complete log\(s\)|Removing temporary output|Touching output file|"
    r"Job \d+ has been submitted with SLURM|Shutting down, this might take|Exiting because a job execution failed|"
    r"(WorkflowError:\n+)?At least one job did not complete|RuleException:\n+CalledProcessError"
)
"""How those messages of Snakemake begin that are of no use to a reader; all others are shown."""


class Terminal(logging.Handler):
    """Show a workflow in few lines.

    Parameters
    ----------
    stream : text file
        On a terminal one line is written over and over; elsewhere a line now and then, the rarer the longer it takes.
    progress : WorkflowProgress
    """

    def __init__(self, stream: TextIO, progress: WorkflowProgress) -> None:
        super().__init__()
        self._stream, self._progress = stream, progress
        self._in_place = stream.isatty()
        self._said_at = progress.clock()
        self._failures, self._stopping, self._log_file, self._is_gone = 0, False, "", False
        self._over = threading.Event()
        threading.Thread(target=self._keep_telling, daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record of Snakemake."""
        told = record.__dict__
        event = str(told.get("event") or "message")
        take = getattr(self, f"_take_{event}", self._take_message if record.levelno >= logging.WARNING else None)
        try:
            if take:
                take(told)
        except Exception:  # as every handler: what is said of the work does not end it
            self.handleError(record)

    def close(self) -> None:
        """Say how it ended."""
        assert self.lock is not None
        with self.lock:
            if not self._over.is_set():
                self._over.set()
                if self._progress.total:
                    self._say_end()
        super().close()

    def _take_run_info(self, told: Mapping[str, Any]) -> None:
        jobs = {rule: count for rule, count in told["stats"].items() if rule != "total"}
        self._progress.plan(jobs)
        by_rule = ", ".join(f"{count} {rule}" for rule, count in jobs.items())
        self._write(f"{counted(self._progress.total, 'job')} to do: {by_rule}")

    def _take_job_info(self, told: Mapping[str, Any]) -> None:
        files = [list(told[kind]) for kind in ("input", "output", "log")]
        self._progress.start(told["jobid"], told["rule_name"], dict(told["wildcards"]), *files)

    def _take_job_finished(self, told: Mapping[str, Any]) -> None:
        self._progress.end(told["job_id"])

    def _take_job_error(self, told: Mapping[str, Any]) -> None:
        job = self._progress.running.pop(told["jobid"], None)
        messages = [message for message in (told["rule_msg"], *map(_reason, told["log"])) if message]
        stopped = self._stopping or any(_CHECKPOINTED in message for message in messages)
        self._failures += not stopped
        lines = [f"{'stopped' if stopped else 'failed'}: {job.name if job else told['rule_name']}", *messages]
        self._write("\n    ".join([*lines, *(f"log: {path}" for path in told["log"])]))

    def _take_group_error(self, told: Mapping[str, Any]) -> None:
        """Its jobs follow, one by one."""
        logs = "".join(f"\n    log: {path}" for path in told["aux_logs"])
        self._write(f"failed: a group of {len(told['job_error_info'])} jobs{logs}")

    def _take_message(self, told: Mapping[str, Any]) -> None:
        text = str(told["msg"] or "")
        if text.startswith("Complete log(s): "):
            self._log_file = text.removeprefix("Complete log(s): ")
        self._stopping |= text.startswith("Terminating processes on user request")
        if text and not _PASSING.match(text):
            self._write(text)

    def _keep_telling(self) -> None:
        """Tell how far it is, also while no job begins or ends."""
        assert self.lock is not None
        while not self._over.wait(1.0):
            with self.lock:
                now = self._progress.clock()
                pause = 0.0 if self._in_place else max(_EVERY_S, _SHARE * (now - self._progress.began))
                if self._progress.total and now - self._said_at >= pause:
                    self._said_at = now
                    self._tell()

    def _tell(self) -> None:
        line = self._progress.line()
        self._show(f"\r\x1b[K{line[: _width() - 1]}" if self._in_place else f"{line}\n")

    def _write(self, text: str) -> None:
        self._show(f"\r\x1b[K{text}\n" if self._in_place else f"{text}\n")

    def _show(self, text: str) -> None:
        """Write, unless the terminal or pipe is gone: the work goes on, and Snakemake's log file has all of it."""
        if self._is_gone:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._is_gone = True

    def _say_end(self) -> None:
        progress = self._progress
        total, took = counted(progress.total, "job"), duration(progress.clock() - progress.began)
        if len(progress.ended) == progress.total:
            made = progress.made()
            paths = [*made[:_SHOWN], *([f"and {len(made) - _SHOWN} more"] if len(made) > _SHOWN else [])]
            self._write("\n".join(["\n    ".join([f"Done: {total} in {took}. Made:", *paths]), *progress.left_out()]))
            return
        ended = f"{'Stopped' if self._stopping else 'Ended'} after {len(progress.ended)} of {total} in {took}"
        failed = f", {self._failures} failed" if self._failures else ""
        log = self._log_file or ".snakemake/log"
        self._write(f"{ended}{failed}. The same command goes on where it stopped. All that Snakemake said: {log}")


def _reason(log: str) -> str:
    """Return the line of a job's log that says why it ended: that of our error, else of any, else the last one."""
    lines = [line for line in log_tail(log).splitlines() if line.strip()]
    for pattern in (_OUR_ERROR, _ANY_ERROR):
        if found := [match for match in map(pattern.search, lines) if match]:
            return found[-1]["told"]
    return lines[-1] if lines else ""


def _width() -> int:
    return shutil.get_terminal_size().columns
