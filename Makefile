# Every target sets up what it needs in .venv; a machine brings make and Python 3.11 to 3.13 with pip.
# The shell is sh, and nothing but .venv, .cache, .dagster and the store is written.

STUDY ?= embedded
PORT ?= 3000
KIND ?= llama
DATA ?= neuroscribe/explain/plain_puzzles.json
PYTHON ?= python3.11 python3.12 python3.13 python3
DAGSTER_HOME ?= $(CURDIR)/.dagster
NEUROSCRIBE_STORE ?= store

BIN := .venv/bin
READY := .venv/.ready
READY_TO_TEST := .venv/.ready-to-test
# Nothing but the files that the locks name by their hashes, and nothing that would be built on the way.
# What is imported is compiled then: to compile all that is there would take half of the time.
LOCKED := install -q --no-compile --require-hashes --no-deps --only-binary :all:
# Two makes at once take turns at the setup; the second finds it done.
TURNS := $(if $(shell command -v flock),flock Makefile)
# Tests never meet the settings of real runs.
BARE := env -u DAGSTER_HOME -u NO_COLOR $(patsubst %,-u %,$(filter NEUROSCRIBE_%,$(.VARIABLES)))
# Small matrices: one thread in each of two workers beats two threads. Files stay whole, for their fixtures run
# whole pipelines, in the order of tests/conftest.py.
PYTEST := $(BARE) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS = 1
export TOKENIZERS_PARALLELISM = false
home run checks trace ui bench bench-puzzles gc forget: export DAGSTER_HOME := $(DAGSTER_HOME)
run plan ledger checks trace ui bench bench-puzzles gc forget: export NEUROSCRIBE_STORE := $(NEUROSCRIBE_STORE)

.SILENT:
.DEFAULT_GOAL := help
.PHONY: help run plan ledger checks trace gc forget server test check lint ui bench bench-puzzles setup setup-tests \
  lock home clean

help: ## show these targets
	awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

run: setup ## capture, explain and score a study (STUDY=embedded)
	$(BIN)/python -m dagster_project.run "$(STUDY)"

plan: setup ## show calls, tokens and money of a study before it is run (STUDY=embedded)
	$(BIN)/python -m dagster_project.plan "$(STUDY)"

ledger: setup ## show what all LLM calls took, and write ledger.parquet into the store
	$(BIN)/python -m dagster_project.ledger

checks: setup ## show how the data-quality checks of a study stand (STUDY=embedded)
	$(BIN)/python -m dagster_project.checks "$(STUDY)"

trace: setup ## show everything behind a score (STUDY= LAYER= NEURON=; POLARITY= EXPLAINER= ARGS=--json)
	$(BIN)/python -m dagster_project.trace "$(STUDY)" $(LAYER) $(NEURON) $(if $(POLARITY),--polarity=$(POLARITY)) \
	  $(if $(EXPLAINER),--explainer "$(EXPLAINER)") $(ARGS)

gc: setup ## show what the store holds that nothing needs (REMOVE=1: remove it)
	$(BIN)/python -m dagster_project.garbage $(if $(REMOVE),--remove)

forget: setup ## show a study's tables of some layers (LAYERS=0,6 STAGES=scores CAPTURE=1; YES=1: remove them)
	$(BIN)/python -m dagster_project.forget "$(STUDY)" --layers "$(LAYERS)" \
	  $(if $(STAGES),--stages "$(STAGES)") $(if $(CAPTURE),--capture) $(if $(YES),--yes)

ui: setup ## open the asset graph on 127.0.0.1 (PORT=3000)
	$(BIN)/python -m dagster_project.ui --port $(PORT)

test: lint ## lint, types, import rules and all tests
	$(PYTEST)

check: lint ## the same without the slow tests
	$(PYTEST) -m "not slow"

bench: setup ## measure, and write benchmarks/latest.json (PARTS="capture peers": some of it)
	$(BIN)/python -m benchmarks $(PARTS)

bench-puzzles: setup ## try a study's LLM on neuron puzzles (DATA=neuroscribe/explain/plain_puzzles.json STUDY=embedded)
	$(BIN)/python -m benchmarks.puzzles "$(DATA)" --study "$(STUDY)"

server: setup ## run a small study on a real LLM server, installed below the cache (KIND=llama or vllm)
	$(BIN)/python deploy/servers/real_server.py $(KIND)

lint: setup-tests
	$(BIN)/ruff check -q .
	$(BIN)/ruff format --check -q . || { echo "these files want 'ruff format'"; exit 1; }
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

clean: ## remove .venv and tool caches; results and downloads stay
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist *.egg-info
	find . -name __pycache__ -not -path './.*' -prune -exec rm -rf {} +

lock: setup-tests ## write the lock files anew (UPGRADE=--upgrade: with the newest releases)
	$(BIN)/python deploy/lock.py $(UPGRADE)

home: ## give a new DAGSTER_HOME its settings, as `run` and `ui` do by themselves
	mkdir -p "$$DAGSTER_HOME"
	test -e "$$DAGSTER_HOME/dagster.yaml" || { \
	  cp deploy/dagster.yaml "$$DAGSTER_HOME/dagster.yaml.$$$$.part" \
	  && mv "$$DAGSTER_HOME/dagster.yaml.$$$$.part" "$$DAGSTER_HOME/dagster.yaml"; }

setup:
	$(TURNS) $(MAKE) --no-print-directory $(READY)

setup-tests:
	$(TURNS) $(MAKE) --no-print-directory $(READY_TO_TEST)

$(READY_TO_TEST): $(READY) requirements-ray.lock requirements-dev.lock
	$(BIN)/python -m pip $(LOCKED) -r requirements-ray.lock -r requirements-dev.lock
	touch $(READY_TO_TEST)

$(READY): pyproject.toml requirements.lock requirements-torch.lock requirements-torch-cpu.lock
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
	  && "$$python" -m pip --python $(BIN)/python $(LOCKED) -r requirements.lock; } || { \
	  echo "make: $$python cannot make a virtual environment (no ensurepip, no pip);" \
	    "on Debian: apt-get install python3-venv"; \
	  exit 1; }
	echo "Setting up .venv, 1 of 2: torch"
	$(BIN)/python -m pip $(LOCKED) -r requirements-torch-cpu.lock 2>/dev/null \
	  || { echo "no small wheel of torch here: taking the one with CUDA, about 3 GB"; \
	    $(BIN)/python -m pip $(LOCKED) -r requirements-torch.lock; }
	echo "Setting up .venv, 2 of 2: $$(grep -c == requirements.lock) packages, one to three minutes"
	$(BIN)/python -m pip $(LOCKED) -r requirements.lock
	$(BIN)/python -m pip install -q --no-index --no-deps --no-build-isolation -e .
	touch $(READY)
