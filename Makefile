# Needs Python 3.11 or later with pip; all else is installed into .venv.
PYTHON ?= python3
PROMPT ?= What does str.split do?
VENV := .venv
BIN := $(VENV)/bin

.DELETE_ON_ERROR:
.PHONY: run test lint format docs wheel

run: $(VENV)/run.installed
	$(BIN)/qrt run "$(PROMPT)"

test: $(VENV)/dev.installed
	$(BIN)/python -m pytest

lint: $(VENV)/dev.installed
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m mypy

format: $(VENV)/dev.installed
	$(BIN)/python -m ruff check --fix
	$(BIN)/python -m ruff format

docs: $(VENV)/docs.installed
	$(BIN)/python -m mkdocs build --strict

wheel: $(VENV)/run.installed
	$(BIN)/python release/objects.py build/objects $(TIERS)
	$(BIN)/python -m pip wheel --no-deps -w dist .

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -e .
	touch $@

$(VENV)/dev.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -e '.[dev]'
	touch $@

$(VENV)/docs.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -e '.[docs]'
	touch $@
