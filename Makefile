# `make lint` and `make test` are what CI runs; both expect an environment with the `dev` extra.
.PHONY: lint test format benchmarks

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

# Ends with one table of figures and goals. Ours beside the released code: make benchmarks RELEASED=../DrasCLR, a
# checkout of github.com/batmanlab/DrasCLR.
benchmarks:
	python benchmarks/all.py $(if $(RELEASED),--released $(RELEASED))
