# Every target sets up what it needs in .venv; a machine brings make and Python 3.11 to 3.13 with pip.
# The shell is sh, and nothing but .venv, .cache, .dagster and the store is written.

STUDY ?= embedded
PORT ?= 3000
KIND ?= llama
DATA ?= benchmarks/plain_puzzles.json
PYTHON ?= python3.11 python3.12 python3.13 python3
DAGSTER_HOME ?= $(CURDIR)/.dagster
NEUROSCRIBE_STORE ?= store

BIN := .venv/bin
READY := .venv/.ready
# Two makes at once take turns at the setup; the second finds it done.
TURNS := $(if $(shell command -v flock),flock Makefile)
# Tests never meet the settings of real runs.
BARE := env -u DAGSTER_HOME -u NO_COLOR $(patsubst %,-u %,$(filter NEUROSCRIBE_%,$(.VARIABLES)))
# Small matrices: one thread in each of two workers beats two threads. Files stay whole, for their fixtures run
# whole pipelines.
PYTEST := $(BARE) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile

export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS = 1
export TOKENIZERS_PARALLELISM = false
run ui bench bench-puzzles: export DAGSTER_HOME := $(DAGSTER_HOME)
run plan ledger ui bench bench-puzzles: export NEUROSCRIBE_STORE := $(NEUROSCRIBE_STORE)

.SILENT:
.DEFAULT_GOAL := help
.PHONY: help run plan ledger server test check lint ui bench bench-puzzles setup home clean

help: ## show these targets
	awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

run: setup home ## capture, explain and score a study (STUDY=embedded)
	$(BIN)/python -m dagster_project.run $(STUDY)

plan: setup ## show calls, tokens and money of a study before it is run (STUDY=embedded)
	$(BIN)/python -m dagster_project.plan $(STUDY)

ledger: setup ## show what all LLM calls took, and write ledger.parquet into the store
	$(BIN)/python -m dagster_project.ledger

ui: setup home ## open the asset graph on 127.0.0.1 (PORT=3000)
	echo "Dagster will answer at http://127.0.0.1:$(PORT) (Ctrl-C ends it)"
	PYTHONWARNINGS='ignore:Function `dev_command` is superseded' \
	$(BIN)/dagster dev -w workspace.yaml -h 127.0.0.1 -p $(PORT)

test: lint ## lint, types, import rules and all tests
	$(PYTEST)

check: lint ## the same without the slow tests
	$(PYTEST) -m "not slow"

bench: setup home ## measure, and write benchmarks/latest.json (PARTS="capture peers": some of it)
	$(BIN)/python -m benchmarks $(PARTS)

bench-puzzles: setup ## try a study's LLM on neuron puzzles (DATA=benchmarks/plain_puzzles.json STUDY=embedded)
	$(BIN)/python -m benchmarks.puzzles "$(DATA)" --study $(STUDY)

server: setup ## run a small study on a real LLM server, installed below the cache (KIND=llama or vllm)
	$(BIN)/python deploy/servers/real_server.py $(KIND)

lint: setup
	$(BIN)/ruff check -q .
	$(BIN)/ruff format --check -q . || { echo "these files want 'ruff format'"; exit 1; }
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

clean: ## remove .venv and tool caches; results and downloads stay
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist *.egg-info
	find . -name __pycache__ -not -path './.*' -prune -exec rm -rf {} +

home:
	mkdir -p $(DAGSTER_HOME)
	test -e $(DAGSTER_HOME)/dagster.yaml || cp deploy/dagster.yaml $(DAGSTER_HOME)/dagster.yaml

setup:
	$(TURNS) $(MAKE) --no-print-directory $(READY)

$(READY): pyproject.toml requirements.lock
	python=; \
	for found in $(PYTHON); do \
	  "$$found" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	    && python=$$found && break; \
	done; \
	test -n "$$python" || { \
	  echo "make: none of '$(PYTHON)' is Python 3.11 to 3.13; install one, or name it: make PYTHON=/path"; \
	  exit 1; }; \
	test -x $(BIN)/pip || "$$python" -m venv --clear .venv >/dev/null 2>&1 || { \
	  "$$python" -m venv --clear --without-pip .venv \
	  && "$$python" -m pip --python $(BIN)/python install -q pip; } || { \
	  echo "make: $$python cannot make a virtual environment (no ensurepip, no pip);" \
	    "on Debian: apt-get install python3-venv"; \
	  exit 1; }
	echo "Setting up .venv (a few minutes the first time)"
	$(BIN)/python -m pip install -q -c requirements.lock torch
	$(BIN)/python -m pip install -q -c requirements.lock -e '.[app,dev]'
	touch $(READY)
