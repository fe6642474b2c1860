"""Helpers of the jobs whose memory follows from the configuration - what they ask a cluster for. Functions only here."""

import math
from functools import cache

from drasclr_core.config.checks import features_dim, pretrain_settings
from drasclr_core.workflow.costs import (
    embedding_memory_gb,
    grid_size,
    read_costs,
    training_memory_gb,
)

costs = cache(read_costs)


def bank_memory(wildcards, attempt):
    """Return the MB of a bank's job: its patches may take bank.memory_gb, at every attempt; more is for the rest."""
    return math.ceil(1000 * (config["bank"]["memory_gb"] + 1)) * attempt


def training_memory(wildcards, attempt):
    """Return the MB of a training on each node, by what one holds, and half as much again once it was tried again.

    Not more each time: an attempt more is no fault of a training that has a time limit.
    """
    settings = pretrain_settings(config, wildcards.run)
    held_gb = training_memory_gb(settings, *bank_size(wildcards), costs())
    return asked_mb(held_gb) * min(attempt + 1, 3) // 2


def embedding_memory(wildcards, attempt):
    """Return the MB of the export of an encoder's features."""
    dim = features_dim(config, wildcards.run)
    return asked_mb(embedding_memory_gb(*bank_size(wildcards), dim, costs())) * attempt


def bank_size(wildcards):
    """Return the subjects and the landmarks of a bank, which is not there yet: no more of the first, about the other."""
    return len(rows(wildcards.cohort)), grid_size(config, costs()["landmarks"])


def asked_mb(held_gb):
    """Return what to ask for where so much is held: a quarter more, and half a GB for the job's Snakemakes."""
    return math.ceil(1250 * held_gb + 500)
