# The one door: make demo, make test, make lint, make bench. CI goes through it too.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

BENCHMARKS := reference probe overhead scaling imports probe_size
RESULTS := outputs/bench

.PHONY: demo test test-slow lint bench format clean

demo: $(READY)
	$(BIN)/python experiments/train.py experiment=demo

test: $(READY)
	$(BIN)/python -m pytest

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# about an hour on two cores; each program leaves its JSON and can be run alone
bench: $(READY)
	set -e; for name in $(BENCHMARKS); do \
		echo "== $$name"; CUDA_VISIBLE_DEVICES= $(BIN)/python experiments/benchmarks/$$name.py --json $(RESULTS)/$$name.json; \
	done
	$(BIN)/python experiments/benchmarks/gpu.py --json $(RESULTS)/gpu.json
	@echo; $(BIN)/python experiments/benchmarks/table.py $(RESULTS)

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) outputs multirun

# soft-entropy is what the tests compare with; --no-deps leaves out its jax and matplotlib, which they do not use
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) --editable '.[experiments,dashboard,test,lint]'
	$(PIP) --no-deps soft-entropy
	touch $(READY)
