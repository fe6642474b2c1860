# `make lint` and `make test` are what CI runs; both expect an environment with the `dev` extra.
.PHONY: lint test docs reference format benchmarks faults slurm-faults robustness

lint:
	ruff check
	ruff format --check
	snakefmt --check Snakefile rules
	snakemake --lint
	mypy
	lint-imports --no-logo --no-cache
	$(MAKE) --no-print-directory docs

test:
	pytest -n 2

# Builds the site into site/; a link, an anchor or a name of the library that leads nowhere fails. No network needed.
docs:
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet

# Writes the pages that are made of the schemas and of the command `drasclr`; a test compares them.
reference:
	python docs/scripts/write_reference.py

# Kills the default job 30 times on a tiny cohort, in half an hour; docs/faults.md is what comes of it. In parts:
# make faults DRASCLR_FINISHED=/tmp/finished FAULTS="-k 'again and (1 or 2)'"
faults:
	DRASCLR_WRITE_FAULTS=1 pytest tests/faults -m workflow -v $(FAULTS)

# Every fault on a Slurm cluster of this machine, those that take minutes too. docs/slurm_faults.md is a transcript.
slurm-faults:
	pytest tests/slurm -m "slurm or slurm_faults" -v --durations=0

# Runs the corpus of hostile input; docs/robustness.md is what it finds.
robustness:
	DRASCLR_WRITE_ROBUSTNESS=1 pytest tests/hostile

format:
	ruff check --fix
	ruff format
	snakefmt Snakefile rules

# Ends with one table of figures and goals. Ours beside the released code: make benchmarks RELEASED=../DrasCLR, a
# checkout of github.com/batmanlab/DrasCLR.
benchmarks:
	python benchmarks/all.py $(if $(RELEASED),--released $(RELEASED))
