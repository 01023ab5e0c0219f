# Every target is a few plain commands; the README shows them for machines without make.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test test-slow lint format benchmark clean

demo: $(VENV)/.base
	$(BIN)/python -m maxvit.main --config=configs/maxvit/digits.py --workdir=runs/digits

test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist=worksteal

test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: $(VENV)/.bench
	$(BIN)/python -m benchmarks.depthwise
	$(BIN)/python -m benchmarks.input_pipeline
	$(BIN)/python -m benchmarks.maxvit
	$(BIN)/python -m benchmarks.maxim
	$(BIN)/python -m benchmarks.bit_counter
	$(BIN)/python -m benchmarks.jpeg_codec
	$(BIN)/python -m benchmarks.jpeg_tables
	$(BIN)/python -m benchmarks.reweighting
	$(BIN)/python -m benchmarks.rank_centrality
	$(BIN)/python -m benchmarks.resizer
	$(BIN)/python -m benchmarks.projected_distribution

clean:
	rm -rf $(VENV) runs

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test]"
	touch $@ $(VENV)/.base

$(VENV)/.bench: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[bench]"
	touch $@ $(VENV)/.base

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	touch $@ $(VENV)/.test $(VENV)/.base
