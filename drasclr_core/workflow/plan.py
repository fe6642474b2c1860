"""What a cohort costs, from its scans to the features of the trained encoders: jobs, hours, memory, disk.

Computed from a configuration and from the figures of ``costs.yaml``; nothing is run.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from drasclr_core.base.documents import read_yaml
from drasclr_core.base.errors import InputError
from drasclr_core.cohort.phantom_ids import phantoms_of
from drasclr_core.cohort.table import read_participant_rows
from drasclr_core.config.checks import (
    Config,
    every_training,
    features_dim,
    is_pretrained,
    pretrain_settings,
    same_run,
    studied_cohorts,
)
from drasclr_core.workflow.costs import COSTS, GB, Costs, embedding_memory_gb, grid_size, read_costs, training_memory_gb


@dataclass(frozen=True)
class Stage:
    """What one rule costs over all of its jobs.

    Attributes
    ----------
    rule : str
    jobs : int
        Of Snakemake.
    slurm_jobs : int
        Begun by this rule: the rules of a subject share the job that the first of them begins.
    core_hours, gpu_hours : float
        Starting Snakemake and imports included.
    memory_gb : float
        Of the largest job on one node, in 10^9 bytes.
    disk_gb : float
        Of all outputs.
    kept : bool
        Whether the outputs stay; else they are deleted when nothing needs them any more.
    wall_hours : float
        With the cores and GPUs of the plan.
    """

    rule: str
    jobs: int
    slurm_jobs: int
    core_hours: float
    gpu_hours: float
    memory_gb: float
    disk_gb: float
    kept: bool
    wall_hours: float


@dataclass(frozen=True)
class Plan:
    """The stages of a configuration in running order, and what they rest on."""

    subjects: int
    landmarks: int
    cores: int
    gpus: int
    stages: tuple[Stage, ...]
    assumptions: tuple[str, ...]

    def total(self) -> dict[str, float]:
        """Return the sum over the stages by column; of the memory the largest, of the disk what stays."""
        names = ("jobs", "slurm_jobs", "core_hours", "gpu_hours", "wall_hours", "disk_gb")
        sums = {name: sum(getattr(stage, name) for stage in self.stages) for name in names}
        kept_gb = sum(stage.disk_gb for stage in self.stages if stage.kept)
        return {**sums, "kept_gb": kept_gb, "memory_gb": max(stage.memory_gb for stage in self.stages)}

    def as_json(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return {**asdict(self), "total": self.total()}


def cohort_sizes(config: Config, subjects: int | None = None) -> dict[str, int]:
    """Return cohort -> number of subjects, of `studied_cohorts`: `subjects`, or as their tables say."""
    if subjects is not None and subjects < 1:
        raise InputError(f"subjects: {subjects} is too small; a cohort has 1 subject or more")
    return {cohort: subjects or _size(config["cohorts"][cohort]) for cohort in studied_cohorts(config)}


def make_plan(
    config: Config,
    sizes: Mapping[str, int],
    *,
    landmarks: int | None = None,
    cores: int = 100,
    gpus: int | None = None,
    costs_file: Path = COSTS,
) -> Plan:
    """Return what a checked configuration costs.

    Parameters
    ----------
    config : dict
        As `check_config` accepts it.
    sizes : mapping
        Cohort -> number of subjects, as of `cohort_sizes`.
    landmarks : int, optional
        Of every atlas; by default as of `grid_size`.
    cores, gpus : int
        What runs at a time, for the hours of wall time; `gpus` by default as many as one training has processes.
    costs_file : path
        The figures, as ``costs.yaml``.

    Raises
    ------
    InputError
        If `landmarks`, `cores` or `gpus` is less than 1.
    """
    costs = read_costs(costs_file)
    count = grid_size(config, costs["landmarks"]) if landmarks is None else landmarks
    gpus = int(config["pretrain"]["processes"]) if gpus is None else gpus
    for name, value in {"landmarks": count, "cores": cores, "gpus": gpus}.items():
        if value < 1:
            raise InputError(f"{name}: {value} is too small; 1 or more are needed")
    work = _Work(config, dict(sizes), count, cores, gpus, costs)
    stages = tuple(work.stages())
    return Plan(sum(sizes.values()), count, cores, gpus, stages, tuple(_assumptions(read_yaml(costs_file), config)))


def _size(cohort: dict[str, Any]) -> int:
    if "phantom" in cohort:
        return len(phantoms_of(cohort["phantom"]))
    return len(read_participant_rows(cohort["participants"]))


def _assumptions(table: Mapping[str, Any], config: Config) -> Iterator[str]:
    unused = set() if config["segmentation"]["method"] == "lungmask" else {"lungmask_cpu_s"}
    unused |= set() if config["pretrain"]["device"] == "cuda" else {"gpu_step_s", "gpu_host_memory_gb"}
    for name, entry in table.items():
        if not entry.get("measured", True) and name not in unused:
            yield f"{name} = {entry['value']:g} was not measured: {entry['source']}"
    yield "Core-hours of a scan are those of one resampled to 1 mm."
    yield "Readouts, tables, figures and `snakemake qc` are not counted."
    yield "Memory is that of the node; of a training on GPUs queues and rows of the bank are in the GPUs' memory."
    yield "Core-hours of a training on GPUs are those of the cores reserved for it: cpu_threads for each."


@dataclass(frozen=True)
class _Work:
    """A configuration's stages."""

    config: Config
    sizes: dict[str, int]
    landmarks: int
    cores: int
    gpus: int
    costs: Costs

    @property
    def scans(self) -> int:
        return sum(self.sizes.values())

    @property
    def trainings(self) -> list[str]:
        """The trainings of all runs, each of those that are the same once."""
        names = every_training(self.config)
        return [t for t in names if is_pretrained(self.config, t) and same_run(self.config, t) == t]

    @property
    def atlases(self) -> list[str]:
        return sorted({run["atlas"] for run in self.config["runs"].values()})

    def lenders(self) -> set[tuple[str, str]]:
        """Return (cohort, participant) of every atlas in use that is somebody's lungs."""
        used = [self.config["atlases"][name] for name in self.atlases]
        return {(atlas["cohort"], atlas["participant"]) for atlas in used if "cohort" in atlas}

    def stages(self) -> Iterator[Stage]:
        yield from self._scan_stages()
        yield self._small_jobs()
        yield self._bank()
        yield self._training()
        yield self._embedding()

    def _scan_stages(self) -> Iterator[Stage]:
        costs, slurm_jobs = self.costs, self._subject_jobs()
        phantoms = sum(n for cohort, n in self.sizes.items() if "phantom" in self.config["cohorts"][cohort])
        aligned = self.scans * len(self.atlases)
        by_volume = self.config["preprocess"]["spacing_mm"] ** -3
        lungmask = self.config["segmentation"]["method"] == "lungmask"
        patches_bytes = self.landmarks * costs["patch_bytes"] * costs["compressed"]
        rows = [
            ("simulate_scan", "phantom", phantoms, costs["simulate_cpu_s"], costs["phantom_bytes"]),
            ("ingest_scan", "ingest", self.scans, costs["ingest_cpu_s"], costs["ingest_bytes"] * by_volume),
            (
                "segment_lungs",
                "segment",
                self.scans,
                costs["lungmask_cpu_s" if lungmask else "segment_cpu_s"],
                costs["segment_bytes"] * by_volume,
            ),
            ("register_lungs", "register", aligned, costs["register_cpu_s"], costs["register_bytes"]),
            ("cut_patches", "patches", aligned, costs["cut_cpu_s"], patches_bytes),
        ]
        for rule, stage, jobs, cpu_s, size in rows:
            if jobs:
                disk_gb = jobs * size / GB
                core_hours = jobs * (cpu_s + costs["overhead_cpu_s"]) / 3600
                yield self._stage(rule, stage, jobs, slurm_jobs, core_hours, costs["scan_memory_gb"], disk_gb)
                slurm_jobs = 0

    def _subject_jobs(self) -> int:
        """Return the Slurm jobs of the subjects: groups, and those who lend an atlas apart, up to their lungs."""
        groups = sum(math.ceil(n / self.costs["subjects_per_job"]) for n in self.sizes.values())
        return groups + len(self.lenders())

    def _small_jobs(self) -> Stage:
        """Tables, atlases, who is in: seconds each."""
        cohorts, atlases = len(self.sizes), len(self.atlases)
        phantoms = sum("phantom" in self.config["cohorts"][cohort] for cohort in self.sizes)
        jobs = cohorts + phantoms + 2 * atlases + 2 * cohorts * atlases
        core_hours = jobs * self.costs["overhead_cpu_s"] / 3600
        return self._stage("tables, atlases", None, jobs, jobs, core_hours, self.costs["scan_memory_gb"], 0.0)

    def _bank(self) -> Stage:
        jobs, patches = len(self.sizes) * len(self.atlases), self._patches(len(self.atlases))
        core_hours = patches * self.costs["bank_cpu_s"] / 3600
        size_gb = patches * self.costs["patch_bytes"] * self.costs["compressed"] / GB
        memory_gb = self.config["bank"]["memory_gb"]
        # One core each, all at a time: the largest is the last.
        wall_hours = core_hours / len(self.atlases) * max(self.sizes.values()) / self.scans
        return self._stage("build_bank", "bank", jobs, jobs, core_hours, memory_gb, size_gb, wall_hours=wall_hours)

    def _training(self) -> Stage:
        on_gpu = self.config["pretrain"]["device"] == "cuda"
        settings = [pretrain_settings(self.config, training) for training in self.trainings]
        trained = sum(setting["epochs"] for setting in settings) * self._patches()
        hours = trained * self.costs["gpu_step_s" if on_gpu else "cpu_step_s"] / 3600
        jobs = len(settings) * len(self.sizes)
        wall_hours = hours / (self.gpus if on_gpu else self._training_cores())
        slurm_jobs = sum(self._parts(setting, hours, trained) for setting in settings) * len(self.sizes)
        subjects = max(self.sizes.values())
        memories = [training_memory_gb(setting, subjects, self.landmarks, self.costs) for setting in settings]
        return self._stage(
            "pretrain_encoder",
            None,
            jobs,
            slurm_jobs,
            hours * self.config["pretrain"]["cpu_threads"] if on_gpu else hours,
            max(memories, default=0.0),
            jobs * self.costs["model_bytes"] / GB,
            gpu_hours=hours if on_gpu else 0.0,
            wall_hours=wall_hours,
        )

    def _parts(self, setting: dict[str, Any], hours: float, trained: float) -> int:
        """Return the jobs of one training: more than one where its time limit cuts it."""
        limit = setting["time_limit_minutes"]
        if limit is None or not trained:
            return 1
        share = setting["epochs"] * self._patches() / len(self.sizes) / trained
        units = setting["processes"] if setting["device"] == "cuda" else self._training_cores()
        return max(1, math.ceil(hours * share / units / ((limit - setting["margin_minutes"]) / 60)))

    def _training_cores(self) -> int:
        return int(self.config["pretrain"]["processes"] * self.config["pretrain"]["cpu_threads"])

    def _embedding(self) -> Stage:
        jobs, patches = len(self.trainings) * len(self.sizes), self._patches(len(self.trainings))
        core_hours = patches * self.costs["embed_cpu_s"] / 3600
        dims = [features_dim(self.config, training) for training in self.trainings]
        memory_gb = embedding_memory_gb(max(self.sizes.values()), self.landmarks, max(dims, default=0), self.costs)
        return self._stage("embed_bank", None, jobs, jobs, core_hours, memory_gb, self._patches() * sum(dims) * 4 / GB)

    def _patches(self, times: int = 1) -> int:
        return self.scans * self.landmarks * times

    def _stage(
        self,
        rule: str,
        stage: str | None,
        jobs: int,
        slurm_jobs: int,
        core_hours: float,
        memory_gb: float,
        disk_gb: float,
        *,
        gpu_hours: float = 0.0,
        wall_hours: float | None = None,
    ) -> Stage:
        kept = stage is None or stage in self.config["storage"]["keep"]
        wall = core_hours / min(self.cores, max(jobs, 1)) if wall_hours is None else wall_hours
        return Stage(rule, jobs, slurm_jobs, core_hours, gpu_hours, memory_gb, disk_gb, kept, wall)
