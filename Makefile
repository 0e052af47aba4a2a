# The daily menu. Every target brings the environment it needs; nothing but python3 and make has to be there.

PYTHON ?= python3
BIN    := .venv/bin
ARGS   ?=
MINUTES ?= 10
# Two workers: the smallest machine that we test on has two cores.
PYTEST := $(BIN)/pytest -p no:cacheprovider

.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help setup parts demo test check lint fmt types imports docs bench soak lock

help:  ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

setup:  ## Put the environment into .venv (quick when it is there)
	@$(PYTHON) tools/setup.py

parts:  ## Setup, and the programs that the tests start (PostgreSQL)
	@$(PYTHON) tools/setup.py --test-parts

demo: setup  ## Run the onboarding against simulated systems (ARGS=--exit ends by itself)
	@$(BIN)/topstitch demo $(ARGS)

test: parts lint types imports  ## Everything that must hold: lint, types, imports and every test
	$(PYTEST) -n 2 --dist loadgroup $(ARGS)

check: test  ## What CI runs: the same as test

lint: setup  ## ruff: rules and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

fmt: setup  ## Put the code into shape
	$(BIN)/ruff check --fix --exit-zero
	$(BIN)/ruff format

types: setup  ## mypy, strict
	$(BIN)/mypy

imports: setup  ## The floor plan: who may import whom
	$(BIN)/lint-imports --no-cache --no-logo

docs: setup  ## Build the documents into docs/_build, warnings as errors, and check them
	$(BIN)/sphinx-build -b html -q -W --keep-going docs docs/_build/html
	$(PYTEST) tests/docs tests/house/test_docs.py tests/house/test_doc_links.py $(ARGS)
	@echo "Open docs/_build/html/index.html"

bench: setup  ## Print the benchmark's table with its ratios
	@$(BIN)/topstitch bench $(ARGS)

soak: parts  ## Look for faults with fresh seeds for MINUTES (10)
	$(BIN)/python tools/soak.py --minutes $(MINUTES) $(ARGS)

lock: setup  ## Renew requirements.lock from pyproject.toml (ARGS=--upgrade takes newer releases)
	@$(BIN)/python tools/lock.py $(ARGS)
