"""A plan as a table for the terminal."""

from rich.console import Console, Group
from rich.table import Table

from drasclr_core.workflow.plan import Plan, Stage

COLUMNS = ("jobs", "Slurm jobs", "core-hours", "GPU-hours", "wall hours", "memory, GB", "disk, GB")


def plan_text(plan: Plan, width: int = 110) -> str:
    """Return the table of a plan, its sums, and what it rests on; at most `width` characters a line."""
    title = (
        f"{plan.subjects:,} subjects, {plan.landmarks:,} landmarks; {plan.cores} cores and {plan.gpus} GPUs at a time"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("rule")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for stage in plan.stages:
        table.add_row(stage.rule, *_cells(stage))
    table.add_section()
    total = plan.total()
    table.add_row(
        "all; largest memory",
        f"{total['jobs']:,}",
        f"{total['slurm_jobs']:,}",
        *(_number(total[name]) for name in ("core_hours", "gpu_hours", "wall_hours", "memory_gb", "disk_gb")),
    )
    notes = [
        f"Of the disk {_number(total['kept_gb'])} GB stay (storage.keep); * is deleted when it has been used.",
        "A subject's rules share the Slurm job that the first of them begins.",
        *plan.assumptions,
    ]
    console = Console(width=width)
    with console.capture() as captured:
        console.print(Group(table, *(f"- {note}" for note in notes)), markup=False, highlight=False)
    return captured.get().rstrip("\n")


def _cells(stage: Stage) -> list[str]:
    hours = (stage.core_hours, stage.gpu_hours, stage.wall_hours)
    disk = _number(stage.disk_gb) + ("" if stage.kept else " *")
    slurm_jobs = f"{stage.slurm_jobs:,}" if stage.slurm_jobs else ""
    return [f"{stage.jobs:,}", slurm_jobs, *map(_number, hours), _number(stage.memory_gb), disk]


def _number(value: float) -> str:
    """Return a number with two digits or more that say something; nothing for 0."""
    if not value:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}" if value < 10 else f"{value:.1f}"
