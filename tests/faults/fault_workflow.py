"""A workflow that ends as by a machine's fault: every process of it at once, by signal 9."""

import csv
import os
import re
import signal
import subprocess
import time
import uuid
from collections import Counter
from dataclasses import dataclass

import psutil
from fault_contents import contents
from fault_plan import PLANNING, STEP, WRITING
from fault_progress import Progress, job_seconds
from workflow_run import snakemake_command, succeeded

TABLE = "results/table2.csv"
OWN_NAMES = {".snakemake_timestamp", ".workflow.lock"}
"""Hidden files that belong among the results: Snakemake's, and the workflow's lock."""

_MARK = "DRASCLR_FAULTS"
_POLL_S, _PLANNING_S, _WRITING_S = 0.002, 4.0, 0.05


class Undisturbed:
    """What a workflow that nobody disturbed has made, and how long its jobs took."""

    def __init__(self, folder):
        self.contents = contents(folder / "results")
        log = max((folder / ".snakemake/log").iterdir(), key=lambda path: path.stat().st_size)
        self.job_seconds = job_seconds(log.read_text())
        with next(folder.glob("results/*/*/runs/drasclr/model/metrics.csv")).open() as file:
            self.steps = int([*csv.DictReader(file)][-1]["step"])

    def count(self, rule):
        """Return the number of jobs of a rule."""
        return len(self.job_seconds[rule])

    def seconds(self, rule):
        """Return how long a rule's jobs took in the mean; they are counted in whole seconds."""
        return sum(self.job_seconds[rule]) / self.count(rule) + 0.5


@dataclass(frozen=True)
class Kill:
    """What was going on when a workflow was killed."""

    seconds: float
    running: str
    ended: int
    unfinished: list
    step: int


class Workflow:
    """The default job on a tiny cohort in a folder of its own, with its own temporary folder and cache."""

    def __init__(self, folder, config, undisturbed):
        self.folder, self.config, self.undisturbed = folder, config, undisturbed
        self.temporary, self.cache = folder / "tmp", folder / "cache"
        self.temporary.mkdir(parents=True)
        self._mark, self._starts, self._ended, self._resumed = uuid.uuid4().hex, 0, Counter(), set()
        own = {"TMPDIR": str(self.temporary), "XDG_CACHE_HOME": str(self.cache), _MARK: self._mark}
        self._environment = {**os.environ, "PATH": os.defpath, **own}

    def kill(self, aim):
        """Start it and kill all of it when the moment has come; return what was going on."""
        progress, begin = Progress(self.folder / f"start-{self._starts}.txt"), time.monotonic()
        self._starts += 1
        process = self.start(progress.path, TABLE)
        try:
            self._wait(aim, process, progress, begin)
        finally:
            seconds = time.monotonic() - begin
            self.kill_all(process)
        progress.update()
        self._resumed = self.resumed()  # the next start of a training begins its log anew
        self._ended += Counter(progress.jobs[number].rule for number in progress.ended)
        running = Counter(job.rule for job in progress.running())
        told = ", ".join(f"{count} {rule}" if count > 1 else rule for rule, count in running.items())
        return Kill(seconds, told or PLANNING, self._ended.total(), self.unfinished(), self._step())

    def start(self, output, *arguments, directory=None):
        """Start Snakemake as the leader of a process group; what it says, of every job, goes to a file."""
        command = snakemake_command(directory or self.folder, self.config, "--printshellcmds", *arguments)
        with output.open("w") as file:
            return subprocess.Popen(
                command, env=self._environment, stdout=file, stderr=file, start_new_session=True, cwd=self.folder
            )

    def run(self, *arguments, directory=None):
        """Run Snakemake to its end; return the finished process."""
        command = snakemake_command(directory or self.folder, self.config, *arguments)
        return subprocess.run(
            command, cwd=self.folder, env=self._environment, capture_output=True, text=True, timeout=600, check=False
        )

    def processes(self):
        """Return all that was started and runs, in whatever process group."""
        return [one for one in psutil.process_iter() if _mark_of(one) == self._mark]

    def kill_all(self, process):
        """Kill the process group, then what has left it for a group of its own."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        while left := self.processes():
            for one in left:
                one.kill()
            psutil.wait_procs(left, timeout=5)

    def unlock(self):
        """Run `snakemake --unlock`."""
        succeeded(self.run("--unlock"))

    def finish(self):
        """Run the same command as before to its end."""
        (self.folder / f"start-{self._starts}.txt").write_text(succeeded(self.run(TABLE)), encoding="utf-8")

    def resumed(self):
        """Return the steps from which trainings went on, in the starts before the last kill and in the last one."""
        logs = [path.read_text(encoding="utf-8") for path in self.folder.glob("logs/**/pretrain_encoder/*.log")]
        return self._resumed | {int(step) for log in logs for step in re.findall(r"resumed at step (\d+)", log)}

    def unfinished(self):
        """Return the names of what was being written beside its final place, in the results and by trainings."""
        hidden = [path for root in ("results", "work") for path in (self.folder / root).rglob(".*")]
        names = [path.name for path in hidden if path.name not in OWN_NAMES]
        return sorted(re.sub(r"\.\w{8}$|^\.\d+(?=\.)", "", name).lstrip(".") for name in names)

    def partial(self):
        """Return the files under a final name that are not what they are in the undisturbed run."""
        found = contents(self.folder / "results")
        # A folder with all values of a training appears at once: no part of it can be there alone.
        return [name for name, content in found.items() if self.undisturbed.contents.get(name) != content]

    def missing(self):
        """Return the files of the undisturbed run that are not there."""
        return sorted(set(self.undisturbed.contents) - set(contents(self.folder / "results")))

    def strays(self):
        """Return what a workflow that has ended should not leave: temporary files and notes, also Snakemake's."""
        places = [self.temporary, self.folder / "work", *self.cache.glob("snakemake/*/*/snakemake-runtime-cache")]
        places += [self.folder / ".snakemake" / name for name in ("scripts", "incomplete", "locks", "temporary")]
        left = [path for place in places if place.is_dir() for path in place.iterdir()]
        left += self.folder.glob(".snakemake/shell_tmp.*")
        return self.unfinished() + [path.relative_to(self.folder).as_posix() for path in left]

    def _wait(self, aim, process, progress, begin):
        """Return when the moment has come."""
        tried = set()
        while True:
            if aim.rule == PLANNING:
                if progress.jobs or time.monotonic() - begin > aim.share * _PLANNING_S:
                    return
            elif job := self._job(aim, progress, tried):
                tried.add(job.number)
                if self._wait_in(job, aim, process, progress) or aim.kind != STEP:
                    return
            _look(process, progress)

    def _job(self, aim, progress, tried):
        """Return the job of the moment, once it runs; any job if all of the aim's rule have ended."""
        jobs = [job for job in progress.running() if job.number not in tried]
        ended = sum(progress.jobs[number].rule == aim.rule for number in progress.ended) + self._ended[aim.rule]
        count = self.undisturbed.count(aim.rule)
        due = [job for job in jobs if job.rule == aim.rule] if ended < count else jobs
        before = 0 if aim.kind == STEP else int(aim.place * (count - 1))
        return due[0] if due and ended >= before else None

    def _wait_in(self, job, aim, process, progress):
        """Wait for the moment in a job; return whether it has come before the job's end."""
        kind = aim.kind if job.rule == aim.rule else None
        length = aim.share * (_WRITING_S if kind == WRITING else self.undisturbed.seconds(job.rule))
        since = None if kind == WRITING else job.begin
        while job.number not in progress.ended:
            if kind == STEP:
                if self._step() > aim.share * self.undisturbed.steps:
                    return True
            elif since is None:
                since = time.monotonic() if self._writes(job) else None
            elif time.monotonic() - since > length:
                return True
            _look(process, progress)
        return False

    def _step(self):
        """Return the last step that an unfinished training has noted."""
        return max((int(path.stem.split("-")[1]) for path in self.folder.glob("work/*/checkpoint-*.pt")), default=0)

    def _writes(self, job):
        paths = [self.folder / output for output in job.outputs]
        return any(path.is_file() or any(path.parent.glob(f".*{path.name}*")) for path in paths)


def _look(process, progress):
    assert process.poll() is None, f"it ended before it was killed:\n{progress.path.read_text()[-3000:]}"
    time.sleep(_POLL_S)
    progress.update()


def _mark_of(process):
    try:
        return process.environ().get(_MARK)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None
