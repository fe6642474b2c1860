"""CPU-seconds of a subject's jobs, rule by rule: Snakemake, starting Python and importing, our own work.

    python benchmarks/overhead.py

One phantom of the default configuration (by thresholds; --lungmask tells what that method imports more). On a cluster
every job starts Snakemake again, as here; a local run starts it once, which the last lines compare. Snakemake's share
is what its own process takes, and what a script takes to read its job; the rest is that of the job run by hand.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from side_by_side import Figure, print_figures, print_table

ROOT = Path(__file__).resolve().parents[1]
SUBJECT = "phantom-002"  # not the atlas's
STAGES = {
    "ingest_scan": "results/phantom/ingest",
    "segment_lungs": "results/phantom/segment",
    "register_lungs": "results/phantom/healthy/register",
    "cut_patches": "results/phantom/healthy/patches",
}
SUBJECTS_PER_JOB = 20  # group-components of profiles/slurm/config.yaml: they share one more start of Snakemake
# What an executor for clusters gives to the Snakemake of one job.
JOB_OPTIONS = (
    "--force --force-use-threads --attempt 1 --target-files-omit-workdir-adjustment --max-inventory-time 0 --retries 0 "
    "--nocolor --no-hooks --nolock --ignore-incomplete --rerun-triggers code input mtime params software-env "
    "--mode remote"
)
# Runs Snakemake, and tells what it took without its children.
ITSELF = """
import atexit, resource, runpy
atexit.register(lambda: print("\\nitself", sum(resource.getrusage(resource.RUSAGE_SELF)[:2])))
runpy.run_module("snakemake", run_name="__main__")
"""


def cpu_s(command: list[str], folder: Path) -> tuple[float, str]:
    """Run a command; return its CPU-seconds, children included, and what it printed."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        output.seek(0)
        text = output.read()
    if status:
        raise SystemExit(f"{' '.join(command)} failed:\n{text[-2000:]}")
    return usage.ru_utime + usage.ru_stime, text


def snakemake(folder: Path, *arguments: str) -> list[str]:
    """Return the command that calls Snakemake on one core."""
    command = [sys.executable, "-c", ITSELF, *arguments, "--snakefile", str(ROOT / "Snakefile")]
    return [*command, "--directory", str(folder), "--configfile", str(folder / "config.yaml"), "--cores", "1"]


def prepare(folder: Path) -> None:
    """Bring two phantoms to patches, whose logs hold what is run by hand."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    config["cohorts"]["phantom"]["phantom"]["subjects"] = 2
    config["evaluation"]["folds"] = 2
    config["runs"] = {"laa950": config["runs"]["laa950"]}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    cpu_s(snakemake(folder, "results/phantom/healthy/included.tsv"), folder)


def job_text(folder: Path, rule: str) -> str:
    """Return a job's JSON, the first line of its log."""
    log = folder / STAGES[rule].replace("results", "logs").replace(STAGES[rule].rsplit("/", 1)[1], rule)
    return (log / f"{SUBJECT}.log").read_text(encoding="utf-8").splitlines()[0].split(" ", 2)[2]


def by_hand(folder: Path, rule: str) -> dict[str, float]:
    """Return the CPU-seconds of a job run by hand: start, imports, total."""
    script = ROOT / "workflow_scripts" / f"{rule}.py"
    command = [sys.executable, str(ROOT / "benchmarks" / "timed_job.py"), str(script), job_text(folder, rule)]
    total_s, text = cpu_s(command, folder)
    return {**json.loads(text.splitlines()[-1]), "total": total_s}


def itself_s(command: list[str], folder: Path) -> float:
    """Return the CPU-seconds of Snakemake without its children."""
    return float(cpu_s(command, folder)[1].splitlines()[-1].split()[1])


def by_snakemake(folder: Path, rule: str) -> float:
    """Return the CPU-seconds of the Snakemake that a cluster starts for one job."""
    wildcards = f"cohort=phantom,id={SUBJECT}" + (",atlas=healthy" if "healthy" in STAGES[rule] else "")
    target = ["--target-jobs", f"{rule}:{wildcards}", "--allowed-rules", rule]
    return itself_s(snakemake(folder, *target, *JOB_OPTIONS.split()), folder)


def measure(folder: Path) -> tuple[dict[str, list[float]], float]:
    """Return rule -> Snakemake, start and imports, ours; and Snakemake's share of a local run of all rules."""
    reading_s = beside("pass", "from snakemake.script import Snakemake")
    shares = {}
    for rule in STAGES:
        hand = by_hand(folder, rule)
        imports_s = hand["start"] + hand["imports"]
        shares[rule] = [by_snakemake(folder, rule) + reading_s, imports_s, hand["total"] - imports_s]
    for stage in STAGES.values():
        shutil.rmtree(folder / stage / SUBJECT)
    local_s = itself_s(snakemake(folder, f"{STAGES['cut_patches']}/{SUBJECT}"), folder)
    return shares, local_s + len(STAGES) * reading_s


def beside(code: str, more: str) -> float:
    """Return the CPU-seconds that a line of Python takes more after another, medians of three."""
    codes = (code, f"{code}; {more}")
    first, both = (statistics.median(cpu_s([sys.executable, "-c", each], ROOT)[0] for _ in range(3)) for each in codes)
    return both - first


def lungmask_imports_s() -> float:
    """Return the CPU-seconds that importing lungmask takes beside what the segmentation imports anyway."""
    return beside("import drasclr_core.atlas.stages, drasclr_core.scan.lungs as lungs", "lungs.import_lungmask()")


def main(args: argparse.Namespace) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name))
        shares, local_s = measure(Path(name))
    sums = [sum(column) for column in zip(*shares.values(), strict=True)]
    rows = [[rule, *(f"{value:.2f}" for value in [*values, sum(values)])] for rule, values in shares.items()]
    rows.append(["all", *(f"{value:.2f}" for value in [*sums, sum(sums)])])
    print_table(["rule", "Snakemake", "start and imports", "ours", "together"], rows)
    snakemake_s, imports_s, _ = sums
    group_s = snakemake_s / len(STAGES) / SUBJECTS_PER_JOB
    figures = [
        Figure("overhead of a subject on a cluster, CPU-s", snakemake_s + group_s + imports_s, 12, True, ".1f"),
        Figure("overhead of a subject in a local run of its own, CPU-s", local_s + imports_s, 12, True, ".1f"),
    ]
    if args.lungmask:
        figures.append(Figure("importing lungmask and PyTorch, CPU-s", lungmask_imports_s(), form=".1f"))
    print_figures(figures)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lungmask", action="store_true", help="also the import of lungmask")
    main(parser.parse_args())
