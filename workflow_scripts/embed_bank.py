"""Embed every patch of the bank with a trained encoder."""

from pathlib import Path

from _job import run

from drasclr_core.embedding import embed_to_folder


def main(job):
    embed_to_folder(job.input.bank, job.input.model, Path(job.output.features), threads=job.threads)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
