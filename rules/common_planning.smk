"""What makes planning a large cohort quick - answers that Snakemake finds anew for every job. Functions only here."""

import gc
from functools import cache

import smart_open
import snakemake.rules as snakemake_rules
from snakemake.iocontainers import AttributeGuard
from snakemake.sourcecache import SourceCache


def plan_quickly():
    """Let Snakemake keep what it asks of every job.

    These are its insides, of the version that the environment pins; what they give is in docs/benchmarks.md.
    """
    # The graph is millions of objects that stay: to search them for garbage is a tenth of its planning.
    gc.set_threshold(50_000, 20, 100)
    # A script's place is asked for three times a job, and smart_open makes a class for each answer.
    smart_open.parse_uri = cache(smart_open.parse_uri)
    SourceCache._cache = cache(SourceCache._cache)
    # The parameters of an input function do not change from job to job.
    snakemake_rules.get_function_params = cache(snakemake_rules.get_function_params)
    # Two of these stand in every list of inputs, outputs, parameters, logs and wildcards: let all lists share them.
    AttributeGuard.__new__ = cache(lambda cls, name: object.__new__(cls))
