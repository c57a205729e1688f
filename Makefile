# Every target does its own set-up; nothing but Python 3.11 or later and make is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DUCKDB_1 := $(VENV)/duckdb-1
STAMP := $(VENV)/installed
# Tests make thousands of small files durable, which costs a disk most of its time and memory none of it.
SPARE := $(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 4000000 {print "/dev/shm"}')
PYTEST := $(if $(SPARE),TMPDIR=$(SPARE) )$(BIN)/pytest

# Compiled once, and not again by every process that a test starts, whatever the shell says.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo demo-sae test suite older check soak format bench clean

demo: $(STAMP)
	$(BIN)/exegete demo

# The same of a causal model's autoencoder, with what its latents do to the model.
demo-sae: $(STAMP)
	$(BIN)/exegete demo --sae

# What CI runs: style, types, floors, every test, and the datastore's tests on the older DuckDB too. Tests wait
# a good deal, and meanwhile the processor is free for the rest.
test: $(STAMP)
	$(MAKE) --jobs 2 suite older

# Whole files, in the order that tests/conftest.py gives them: what a file's tests share is made once.
suite: $(STAMP)
	$(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder

older: check $(DUCKDB_1)
	PYTHONPATH=$(DUCKDB_1) $(PYTEST) tests/datastore

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Two long runs (an hour and a half at most) that need a quiet machine; SOAK_FEATURES=2000 SOAK_KILLS=5 makes
# them short. docs/reliability.md has the last figures.
soak: $(STAMP)
	$(BIN)/pytest -m soak tests/reliability

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/python -m benchmarks.labelling
	$(BIN)/python -m benchmarks.sql
	$(BIN)/python -m benchmarks.rethreshold
	$(BIN)/python -m benchmarks.scoring
	$(BIN)/python -m benchmarks.coverage
	$(BIN)/python -m benchmarks.stopping
	$(BIN)/python -m benchmarks.controls
	$(BIN)/python -m benchmarks.refinement
	$(BIN)/python -m benchmarks.spending
	$(BIN)/python -m benchmarks.outputs
	$(BIN)/python -m benchmarks.report
	$(BIN)/python -m benchmarks.review

# torch comes first, so that nothing else decides which build it is. On Linux pip's own index gives one with
# CUDA; TORCH='--index-url URL' takes another. pip compiles on one core; a file or two are for later Pythons, and
# of what is left out little is ever imported.
TORCH ?=

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt $(TORCH) torch
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable '.[demo,sentence,web,dev]'
	$(BIN)/python -W ignore -m compileall -qq -j 0 -x '/(tests|transformers/models|plotly|pip|networkx)/' $(VENV)/lib || true
	touch $@

$(DUCKDB_1): $(STAMP)
	$(BIN)/pip install --quiet --no-deps --target $@ 'duckdb>=1.5.6,<2'

clean:
	rm -rf $(VENV) build dist
