"""The default job on a tiny cohort, killed with all its processes and started again: does it end as if undisturbed."""

import os
import time
from pathlib import Path

import pytest
from fault_plan import KILLS, PLANNING, RULES, plan
from fault_workflow import Undisturbed, Workflow
from faults_page import PAGE, Outcome, aims_of, updated
from workflow_run import changed, tiny_config

pytestmark = pytest.mark.workflow

CONFIG = changed(tiny_config(), {"pretrain.checkpoint_minutes": 0})
"""A checkpoint at every step."""

NUMBERS = [0, *(pytest.param(number, marks=pytest.mark.faults) for number in range(1, len(plan())))]
SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture(scope="module")
def undisturbed(finished):
    return Undisturbed(finished)


def test_the_plan_has_a_kill_of_every_rule_of_the_job(undisturbed):
    assert set(undisturbed.job_seconds) == set(RULES)
    aims = [aim for aims in plan() for aim in aims]
    assert len(aims) == KILLS
    assert {aim.rule for aim in aims} == {*RULES, PLANNING}


@pytest.mark.parametrize("number", NUMBERS)
def test_a_workflow_killed_again_and_again_ends_as_an_undisturbed_one(number, undisturbed, tmp_path):
    begin, shared = time.monotonic(), set(SHARED_MEMORY.iterdir())
    workflow = Workflow(tmp_path / "workflow", CONFIG, undisturbed)
    kills = []
    for aim in plan()[number]:
        kills.append(workflow.kill(aim))
        assert workflow.partial() == [], kills
        workflow.unlock()
    workflow.finish()
    assert workflow.partial() == []
    assert workflow.missing() == []
    assert workflow.strays() == []
    assert set(SHARED_MEMORY.iterdir()) <= shared
    assert {kill.step for kill in kills if kill.step} <= workflow.resumed()
    if os.environ.get("DRASCLR_WRITE_FAULTS"):
        page = updated(PAGE.read_text(encoding="utf-8"), Outcome(number, kills, time.monotonic() - begin))
        PAGE.write_text(page, encoding="utf-8")


def test_the_page_is_of_this_plan():
    aims = aims_of(PAGE.read_text(encoding="utf-8"))
    assert aims == {(number, kill): str(plan()[number - 1][kill - 1]) for number, kill in aims}
