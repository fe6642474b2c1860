"""What Snakemake says of its jobs, read while it says so."""

import re
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime

_JOB = re.compile(r"^(?:local)?rule (\w+):\n((?: {4}.*\n)*? {4}jobid: (\d+)\n)", re.M)
_ENDED = re.compile(r"^Finished jobid: (\d+)", re.M)
_DATED = re.compile(rf"^\[(.+ \d{{4}})\]\n(?:{_JOB.pattern[1:]}|{_ENDED.pattern[1:]})", re.M)


@dataclass
class Job:
    """A job that was started."""

    rule: str
    number: str
    outputs: list
    begin: float = field(default_factory=time.monotonic)


class Progress:
    """The jobs of a running Snakemake, whose output goes to a file."""

    def __init__(self, path):
        self.path, self.jobs, self.ended, self._size = path, {}, set(), 0

    def update(self):
        """Read what is new."""
        size = self.path.stat().st_size
        if size == self._size:
            return
        text, self._size = self.path.read_text(encoding="utf-8", errors="replace"), size
        for rule, fields, number in _JOB.findall(text):
            if number not in self.jobs:
                outputs = re.search(r"^ {4}output: (.*)$", fields, re.M)
                self.jobs[number] = Job(rule, number, outputs[1].split(", ") if outputs else [])
        self.ended = set(_ENDED.findall(text))

    def running(self):
        """Return the jobs that have not ended."""
        return [job for job in self.jobs.values() if job.number not in self.ended]


def job_seconds(log):
    """Return rule -> list of its jobs' seconds, from the log of a Snakemake that has ended."""
    rules, begun, seconds = {}, {}, defaultdict(list)
    for written, rule, _, started, ended in _DATED.findall(log):
        moment = datetime.strptime(written, "%a %b %d %H:%M:%S %Y").timestamp()
        if started:
            rules[started], begun[started] = rule, moment
        else:
            seconds[rules[ended]].append(moment - begun[ended])
    return dict(seconds)
