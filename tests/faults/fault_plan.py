"""When the kills come: 30 moments, drawn from a seed, in four workflows."""

from dataclasses import dataclass

import numpy as np

SEED = 0
KILLS = 30
PLANNING = "planning"
RULES = ["assign_folds", "simulate_scan", "write_phantom_table", "check_participants", "ingest_scan", "segment_lungs"]
RULES += ["make_atlas", "lay_landmarks", "register_lungs", "cut_patches", "collect_subjects", "check_exclusions"]
RULES += ["embed_cohort", "build_bank", "pretrain_encoder", "embed_bank", "evaluate_run", "make_table"]
"""The rules of the default job, about in their order."""

ONCE = {"assign_folds", "write_phantom_table", "check_participants", "make_atlas", "lay_landmarks", "collect_subjects"}
ONCE |= {"check_exclusions", "build_bank", "make_table", PLANNING}
"""Those with a single job."""

TIME, WRITING, STEP = "time", "writing", "step"
FIRST = [("build_bank", WRITING), ("pretrain_encoder", STEP), ("evaluate_run", WRITING)]
"""Of the first workflow, the one that every run of the test suite kills."""

OFTEN = [(PLANNING, TIME), ("register_lungs", TIME), ("cut_patches", WRITING), ("build_bank", TIME)]
OFTEN += [("pretrain_encoder", STEP)] * 2 + [("pretrain_encoder", WRITING), ("evaluate_run", TIME)]
"""Beside one kill of every rule: where there is most to lose."""


@dataclass(frozen=True)
class Aim:
    """A moment: in a job of `rule`, the one after `place` (a share) of the rule's jobs.

    `share` is of what `kind` says: of the job's time, of 50 ms after it has begun to write its output, of the steps of
    the first training that takes as many. With `PLANNING` in place of a rule, of the time before the first job. A job
    that ends before its moment is the moment; if all jobs of the rule have ended, it is another rule's.
    """

    rule: str
    kind: str
    place: float
    share: float

    def __str__(self):
        job = self.rule if self.rule in ONCE or self.kind == STEP else f"{self.rule} after {self.place:.0%} of its jobs"
        told = {TIME: f"{self.share:.0%} of its time", WRITING: "writing", STEP: f"{self.share:.0%} of its steps"}
        return f"{job}: {told[self.kind]}"


def plan():
    """Return the aims of all workflows, in the order in which they can come."""
    rng = np.random.default_rng(SEED)
    once = [(rule, str(rng.choice([TIME, WRITING]))) for rule in RULES]
    dealt = rng.permutation([(PLANNING, TIME), *once, *OFTEN]).reshape(3, -1, 2)
    return [_in_order(rng, kinds) for kinds in [FIRST, *dealt.tolist()]]


def _in_order(rng, kinds):
    drawn = [Aim(rule, kind, *rng.uniform(size=2)) for rule, kind in kinds]
    # Planning is the first thing of every start: it may be before and after the other kills.
    order = {PLANNING: rng.uniform(0, len(RULES)), **{rule: number for number, rule in enumerate(RULES)}}
    return sorted(drawn, key=lambda aim: (order[aim.rule], aim.place))
