# make run    a virtual environment, the server in it, its database in ./data
# make test   the same environment with what tests need, and all tests
# make check  what a change must pass: linters, type checker, tests
# make bench  measure it beside others that are installed, and write the figures of docs/performance.md

PYTHON ?= python3
BIN := venv/bin
SOURCES := setup.py pyproject.toml api_schema.yml $(shell find jobengine twisted -name '*.py')

.PHONY: run test lint check bench clean

run: venv/installed
	DB_PATH=$${DB_PATH:-data/jobengine.jedb} exec $(BIN)/twistd --nodaemon --pidfile= jobengine

test: venv/installed-test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: venv/installed-lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint test

bench: venv/installed-bench
	$(BIN)/python -m benchmarks.all

clean:
	rm -rf venv build *.egg-info

venv/bin/python:
	$(PYTHON) -m venv venv

venv/installed: venv/bin/python $(SOURCES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check .
	touch $@

venv/installed-test: venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '.[test]'
	touch $@

venv/installed-lint: venv/installed-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '.[test,lint]'
	touch $@

venv/installed-bench: venv/installed-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '.[test,bench]'
	touch $@
