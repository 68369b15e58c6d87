# The two commands: `make demo` and `make test`. Both do all the set-up themselves (tools/setup.sh).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

CACHE := $(or $(KOJI_ADJUTANT_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/koji-adjutant)
BIN := .venv/bin
PYTHON := $(BIN)/python
# Extra words for pytest: make test T='-k render -x'
T ?=
# Processes that share the tests; 0 runs them in pytest itself, as for its -s and --pdb: make test JOBS=0 T=-s
JOBS ?= 2
# How often a test that failed is tried again, see tests/secondtry.py; CI says 1
RERUNS ?= 0
# The sample that `make demo` builds: make demo SAMPLE=grove
SAMPLE ?= hz
# Tools read podman's configuration from here, see tools/hostconf.py.
ENVIRONMENT = source "$(CACHE)/env.sh"

.PHONY: help setup demo test lint golden schema bench clean

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

setup: ## Install programs, .venv, RPM world and task image; quick when they are there
	@tools/setup.sh

demo: setup ## Build a sample source RPM in containers and list the RPMs
	@$(ENVIRONMENT); \
	srpm=$$($(PYTHON) -m tools.standin srpm $(SAMPLE)); \
	repo=$$($(PYTHON) -m tools.standin repo); \
	export ADJUTANT_TASK_IMAGE_DEFAULT=$$($(PYTHON) -m tools.standin image); \
	$(BIN)/engine run buildArch "$$srpm" --repo "$$repo" --results out/demo

test: setup lint ## Check style and types, then run every test
	@$(ENVIRONMENT); $(BIN)/pytest -n $(JOBS) --reruns $(RERUNS) $(T)

lint: ## ruff and mypy
	@tools/setup.sh venv
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

golden: setup ## Rewrite tests/golden from what the engine renders now; then read the diff
	@$(ENVIRONMENT); $(BIN)/pytest tests/golden -m "not podman" --update-golden

schema: ## Regenerate schema/ and the tables of docs/recipes.md and docs/buildroots.md
	@tools/setup.sh venv
	@$(PYTHON) -m tools.schema
	@$(PYTHON) -m tools.docs

bench: setup ## Run the benchmarks
	@$(ENVIRONMENT); $(PYTHON) -m benchmarks

clean: ## Remove what was built in this tree; the cache and podman's images stay
	@rm -rf out build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -path ./.venv -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf
