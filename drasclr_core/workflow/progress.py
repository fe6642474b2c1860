"""How far a workflow is: jobs that run, jobs that are left, and about how long they take."""

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from drasclr_core.base.words import counted
from drasclr_core.cohort.flow import read_exclusions
from drasclr_core.config.checks import Config
from drasclr_core.workflow.plan import Plan

_STEP = re.compile(r"step (\d+) of (\d+)")
_RESUMED = re.compile(r"resumed at step (\d+)")
Steps = tuple[int, int, int]

_NAMES = 3
_TAIL_BYTES = 65536  # torchrun ends a log with a page of its own
_START_S = 3.0  # of Python and its libraries: a job of which nothing is known


@dataclass(frozen=True)
class Job:
    """A job that was started, `name` being its rule and the wildcards that tell it apart."""

    rule: str
    name: str
    inputs: list[str]
    outputs: list[str]
    logs: list[str]
    since: float

    def steps(self) -> Steps | None:
        """Return the last step that its log tells of, of how many, and the one that a checkpoint began at."""
        log = "".join(log_tail(path) for path in self.logs)
        found, resumed = _STEP.findall(log), _RESUMED.findall(log)
        return (int(found[-1][0]), int(found[-1][1]), int(resumed[-1]) if resumed else 0) if found else None


def log_tail(path: str) -> str:
    """Return the end of a log; nothing where there is none yet."""
    try:
        with Path(path).open("rb") as file:
            file.seek(max(0, Path(path).stat().st_size - _TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


@dataclass
class WorkflowProgress:
    """What is known of a running workflow.

    Parameters
    ----------
    expected : mapping
        Rule -> seconds of a job, until one has ended.
    clock : function
        Seconds from any beginning.
    """

    expected: Mapping[str, float]
    clock: Callable[[], float] = time.monotonic
    left: Counter[str] = field(default_factory=Counter)
    running: dict[int, Job] = field(default_factory=dict)
    ended: list[Job] = field(default_factory=list)
    total: int = 0
    _spent: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.began = self.clock()

    def plan(self, jobs: Mapping[str, int]) -> None:
        """Take how many jobs each rule has."""
        self.left, self.total = Counter(jobs), sum(jobs.values())

    def start(
        self,
        number: int,
        rule: str,
        wildcards: Mapping[str, str],
        inputs: list[str],
        outputs: list[str],
        logs: list[str],
    ) -> None:
        """Take a job that starts."""
        names = [value for key, value in wildcards.items() if key not in ("cohort", "atlas")]
        name = " ".join([rule, *(names or wildcards.values())])
        self.running[number] = Job(rule, name, inputs, outputs, logs, self.clock())

    def end(self, number: int) -> None:
        """Take a job that has ended well."""
        if job := self.running.pop(number, None):
            self._spent.setdefault(job.rule, []).append(self.clock() - job.since)
            self.left[job.rule] -= 1
            self.ended.append(job)

    def seconds_left(self) -> float:
        """Return about how long the rest takes, with as many jobs at a time as so far; at least as long as one job."""
        return self._seconds_left(self._steps())

    def _steps(self) -> dict[int, Steps | None]:
        """Read once how far the logs of the running jobs say that these are."""
        return {number: job.steps() for number, job in self.running.items()}

    def _seconds_left(self, steps: Mapping[int, Steps | None]) -> float:
        now = self.clock()
        running = [
            max(0.0, self._whole(job, steps[number], now) - (now - job.since)) for number, job in self.running.items()
        ]
        started = Counter(job.rule for job in self.running.values())
        waiting = {rule: n - started[rule] for rule, n in self.left.items() if n > started[rule]}
        work = sum(running) + sum(n * self._usual(rule) for rule, n in waiting.items())
        busy = sum(map(sum, self._spent.values())) + sum(now - job.since for job in self.running.values())
        at_a_time = max(1.0, busy / max(now - self.began, 1e-9))
        return max([work / at_a_time, *running, *map(self._usual, waiting)])

    def _usual(self, rule: str) -> float:
        """Return the mean seconds of a rule's jobs, of those that ended or as was expected."""
        spent = self._spent.get(rule)
        return sum(spent) / len(spent) if spent else self.expected.get(rule, _START_S)

    def _whole(self, job: Job, steps: Steps | None, now: float) -> float:
        """Return the seconds from a job's start to its end."""
        done, total, begin = steps or (0, 0, 0)
        return (now - job.since) * (total - begin) / (done - begin) if done > begin else self._usual(job.rule)

    def line(self) -> str:
        """Return how far it is, in one line."""
        done, steps = len(self.ended), self._steps()
        told = f"{done} of {self.total} jobs"
        if done or any(steps.values()):
            told += f", about {duration(self._seconds_left(steps))} left"
        return f"{told}: {', '.join(self._running(steps))}" if self.running else told

    def _running(self, steps: Mapping[int, Steps | None]) -> list[str]:
        by_rule: dict[str, list[str]] = {}
        for number, job in self.running.items():
            by_rule.setdefault(job.rule, []).append(_told(job, steps[number]))
        return [
            text
            for rule, jobs in by_rule.items()
            for text in (jobs if len(jobs) <= _NAMES else [f"{len(jobs)} {rule}"])
        ]

    def made(self) -> list[str]:
        """Return the results that lie at the top and what targets name; else what no job after it read."""
        made = [path for job in self.ended for path in job.outputs]
        named = {path for job in self.ended if not job.outputs for path in job.inputs}
        read = {path for job in self.ended for path in job.inputs}
        asked = [path for path in made if path in named or path.count("/") == 1]
        return asked or [path for path in made if path not in read]

    def left_out(self) -> list[str]:
        """Return a line for each list of exclusions that was made and names somebody."""
        lists = [path for job in self.ended for path in job.outputs if Path(path).name == "exclusions.tsv"]
        rows = {path: len(read_exclusions(path)) for path in lists}
        return [f"Left out: {counted(count, 'scan')}, see {path}" for path, count in rows.items() if count]


def usual_seconds(plan: Plan, config: Config) -> dict[str, float]:
    """Return rule -> seconds of one of its jobs, by a plan, on the cores or GPUs that it takes."""
    settings = config["pretrain"]
    cores = {"pretrain_encoder": int(settings["processes"] * settings["cpu_threads"])}
    found = {}
    for stage in plan.stages:
        hours = stage.gpu_hours / settings["processes"] or stage.core_hours / cores.get(stage.rule, 1)
        found[stage.rule] = hours * 3600 / max(1, stage.jobs)
    return found


def _told(job: Job, steps: Steps | None) -> str:
    return f"{job.name} step {steps[0]}/{steps[1]}" if steps else job.name


def duration(seconds: float) -> str:
    """Return seconds in the words of a person."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{max(1, round(seconds))} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
