# `make` lists the targets. PYTHON may name another interpreter: make run PYTHON=python3.12

PYTHON ?= python3
WORKERS ?= 4
ARGS ?=

MAKEFLAGS += --no-print-directory
SHELL := /bin/sh
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help run test coverage check fmt docs bench torture clean
.DELETE_ON_ERROR:

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

run: $(READY) ## Show the whole thing at work on this machine, with a server of its own
	@$(BIN)/mediastore demo $(ARGS)

test: $(READY) ## Run the tests, on fakeredis and on a real server (ARGS="-k sweep" for some)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -q $(ARGS)

coverage: $(READY) ## Run the tests once more and measure what they reach; takes twice as long
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -n $(WORKERS) --dist loadgroup -q --timeout 300 $(ARGS)
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report

check: $(READY) ## Check style, types, the direction of imports, spelling
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy mediastore worker tests
	@$(BIN)/lint-imports
	@if [ -x $(BIN)/codespell ]; then $(BIN)/codespell; fi

fmt: $(READY) ## Format the code and fix what can be fixed without thought
	@$(BIN)/ruff check --fix-only
	@$(BIN)/ruff format

docs: $(READY) ## Write docs/settings.md and .env.example from the code
	@$(BIN)/python docs/make_reference.py

bench: $(READY) ## Run every benchmark
	@set -e; for script in benchmarks/[!_]*.py; do echo "== $$script"; $(BIN)/python $$script $(ARGS); done

torture: $(READY) ## Run the long tests: kills, storms, crowds; about an hour
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -q -m torture $(ARGS)

clean: ## Remove the environment, caches and build products
	@rm -rf .venv build dist htmlcov .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache \
		.import_linter_cache .hypothesis *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Some systems package Python without ensurepip; there the environment is made without pip, and the
# system's own pip installs into it from outside.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "mediastore needs Python 3.11 or newer; name one: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Setting up .venv; the first time takes a minute or two."
	@$(PYTHON) -m venv .venv >/dev/null 2>&1 || $(PYTHON) -m venv --clear --without-pip .venv
	@if $(BIN)/python -m pip --version >/dev/null 2>&1; then pip="$(BIN)/python -m pip"; \
	elif $(PYTHON) -m pip --version >/dev/null 2>&1; then pip="$(PYTHON) -m pip --python $(BIN)/python"; \
	else echo "There is no pip: install python3-venv or python3-pip, then run make again." >&2; exit 1; fi; \
	$$pip install -qq --disable-pip-version-check --editable '.[all,dev]' || { \
		echo "The packages could not be installed; the lines above say why." >&2; exit 1; }
	@touch $@
