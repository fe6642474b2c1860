"""Time and memory of planning the workflow for a large cohort: `snakemake -n -q` with COPDGene's configuration.

    python benchmarks/dag.py [--subjects 100 1000 10000] [--targets pretrain results/table2.csv] [--finished]

The participants are made up and have no images. With --finished every output is there before (empty, and all of one
moment; Snakemake knows nothing of their making). CPU-seconds are those of Snakemake and its children.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from drasclr_core.cohort.table import write_participants

ROOT = Path(__file__).resolve().parents[1]
GOAL_SUBJECTS, GOAL_S, GOAL_GB = 10_000, 45, 1.0
ONE_ATLAS = "pretrain, one atlas"


def write_study(folder: Path, subjects: int, *, one_atlas: bool) -> None:
    """Write COPDGene's configuration and a made-up table of participants, none of whose scans exist."""
    config = yaml.safe_load((ROOT / "config" / "copdgene.yaml").read_text(encoding="utf-8"))
    ids = [f"{10_000 + number}X" for number in range(subjects)]
    for atlas, name in zip(config["atlases"].values(), ids, strict=False):
        atlas["participant"] = name
    groups = config["pretrain"]["groups"]
    config["pretrain"]["batch_size"] = min(config["pretrain"]["batch_size"], subjects // groups * groups)
    if one_atlas:
        config["runs"] = {name: run for name, run in config["runs"].items() if run["atlas"] == "healthy"}
    weights = folder / config["segmentation"]["weights"]
    weights.parent.mkdir(parents=True)
    weights.touch()
    table = folder / config["cohorts"]["copdgene"]["participants"]
    table.parent.mkdir()
    rows = [
        {"participant_id": name, "image": f"{name}/{name}_INSP_STD_COPD.nii.gz", "gold": number % 5, "fev1pp": 70}
        for number, name in enumerate(ids)
    ]
    write_participants(rows, table)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


def snakemake(folder: Path, *arguments: str) -> list[str]:
    """Return the command that calls Snakemake in a study's folder."""
    command = [sys.executable, "-m", "snakemake", *arguments, "--snakefile", str(ROOT / "Snakefile")]
    return [*command, "--directory", str(folder), "--configfile", str(folder / "config.yaml"), "--cores", "2"]


def finish(folder: Path, target: str) -> None:
    """Make every output that a target needs, empty, all of one moment."""
    command = snakemake(folder, target, "--dry-run")
    plan = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    outputs = {path for line in re.findall(r"^ +output: (.*)$", plan, re.M) for path in line.split(", ")}
    for path in sorted(folder / output for output in outputs):
        is_file = path.suffix in (".csv", ".tsv", ".md", ".json", ".gz")
        (path.parent if is_file else path).mkdir(parents=True, exist_ok=True)
        if is_file:
            path.touch()
    moment = time.time()
    for path in folder.rglob("*"):
        os.utime(path, (moment, moment))


def measure(folder: Path, target: str) -> tuple[float, float, float]:
    """Return CPU-seconds, wall seconds and peak GB of one planning.

    A process starts with its parent's peak, so nothing large is imported before.
    """
    begin = time.perf_counter()
    process = subprocess.Popen(snakemake(folder, target, "-n", "-q"), cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"Snakemake failed with status {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - begin, usage.ru_maxrss * 1024 / 1e9


def main(args: argparse.Namespace) -> None:
    """Measure every target for every size, smallest first; print."""
    measured = {}
    for target in args.targets:
        for subjects in sorted(args.subjects):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                write_study(folder, subjects, one_atlas=target == ONE_ATLAS)
                rule = target.removesuffix(", one atlas")
                if args.finished:
                    finish(folder, rule)
                measured[target, subjects] = measure(folder, rule)
                print(f"{target}, {subjects}: {measured[target, subjects]}", file=sys.stderr, flush=True)
    report(measured, " finished" if args.finished else "")


def report(measured: dict[tuple[str, int], tuple[float, float, float]], state: str) -> None:
    """Print the table, and the figures of the largest cohort with the goals."""
    from side_by_side import Figure, print_figures, print_table  # here: imports PyTorch, see `measure`

    first = {target: figures[0] for (target, _), figures in reversed(measured.items())}
    smallest = {target: subjects for target, subjects in reversed(measured)}
    rows = []
    for (target, subjects), (cpu_s, wall_s, peak_gb) in measured.items():
        beyond = subjects - smallest[target]
        slope = f"{1000 * (cpu_s - first[target]) / beyond:.1f}" if beyond else ""
        rows.append([target, str(subjects), f"{cpu_s:.1f}", f"{wall_s:.1f}", f"{peak_gb:.2f}", slope])
    print_table(["target", "subjects", "CPU-s", "wall s", "peak GB", "CPU-ms a subject more"], rows)
    figures = []
    for (target, subjects), (cpu_s, _, peak_gb) in measured.items():
        if subjects == GOAL_SUBJECTS:
            name = f"planning{state} {target}, {subjects} subjects"
            figures.append(Figure(f"{name}, CPU-s", cpu_s, GOAL_S, lower_is_better=True, form=".1f"))
            figures.append(Figure(f"{name}, peak GB", peak_gb, GOAL_GB, lower_is_better=True, form=".2f"))
    print_figures(figures)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--targets", nargs="+", default=["results/table2.csv", ONE_ATLAS, "pretrain"])
    parser.add_argument("--finished", action="store_true", help="plan when all is done")
    main(parser.parse_args())
