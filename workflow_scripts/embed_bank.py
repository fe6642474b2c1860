"""Embed every patch of the bank with a trained encoder."""

from pathlib import Path

from _job import run

from drasclr_core.model.embed_bank import embed_to_folder


def main(job):
    # Not job.threads, which Snakemake cuts to the cores at hand: the last bits depend on it.
    steps = {"features": job.params.features, "threads": job.params.cpu_threads}
    embed_to_folder(job.input.bank, Path(job.input.model).parent, Path(job.output.features), **steps)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
