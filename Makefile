# `make lint` and `make test` are what CI runs; both expect an environment with the `dev` extra.
.PHONY: lint test format

lint:
	ruff check
	ruff format --check
	snakefmt --check Snakefile rules
	snakemake --lint
	mypy

test:
	pytest

format:
	ruff check --fix
	ruff format
	snakefmt Snakefile rules
