"""Run the benchmarks one after the other; end with one table of their figures and goals.

    python benchmarks/all.py [--released ../DrasCLR] [--rounds 7] [--threads 2]

Each runs in a process of its own. What the options mean is said by `python benchmarks/layers.py --help`. The last
measurement of memory, at the paper's settings, takes 10 GB. Exits with 1 if a benchmark fails.
"""

import subprocess
import sys
from pathlib import Path

from side_by_side import FIGURES_HEADER, print_table

PAPER = ["--config", "config/copdgene.yaml", "--subjects", "9180", "--landmarks", "581"]


def run(name: str, options: list[str]) -> list[list[str]]:
    """Run a benchmark, show what it prints, and return the rows of its table of figures."""
    print(f"\n## {' '.join([name, *options])}\n", flush=True)
    command = [sys.executable, str(Path(__file__).with_name(f"{name}.py")), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        lines = []
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append([cell.strip() for cell in line.strip().strip("|").split("|")])
    if process.returncode:
        return [[f"{name} failed with status {process.returncode}", "", "", "no"]]
    header = list(FIGURES_HEADER)
    return lines[lines.index(header) + 2 :] if header in lines else []


def main() -> int:
    """Run all and print; return the exit status."""
    chosen = sys.argv[1:]
    benchmarks = [(name, chosen) for name in ("layers", "step", "embedding")]
    benchmarks += [
        ("busy", []),
        ("rows", []),
        ("dense", []),
        ("memory", []),
        ("memory", PAPER),
        ("dag", []),
        ("overhead", []),
    ]
    figures = [row for name, options in benchmarks for row in run(name, options)]
    print("\n## Figures and goals\n")
    print_table(FIGURES_HEADER, figures)
    return any("failed" in name for name, *_ in figures)


if __name__ == "__main__":
    sys.exit(main())
