# The one door: make demo, make test, make lint, make docs, make package, make bench, make truth, make gpu. CI goes through it too.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
INSTALL := -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

BENCHMARKS := reference probe overhead scaling imports copies overlap probe_size influences replay replay_plan
RESULTS := outputs/bench
CLOUDS := grid others repeated documents
ERRORS := outputs/truth
SITE := outputs/site
BARE := outputs/package

.PHONY: demo test test-slow lint docs package bench truth gpu format clean

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

# a broken link or reference fails
docs: $(READY)
	$(BIN)/mkdocs build --strict --site-dir $(SITE)

# wheel and sdist into dist/; then the wheel is installed into an empty environment and used there
package: $(READY)
	rm -rf dist $(BARE)
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	$(BIN)/python tests/built_files.py dist
	$(PYTHON) -m venv $(BARE)/venv
	$(BARE)/venv/bin/python $(INSTALL) dist/*.whl
	$(BARE)/venv/bin/python -m pip check
	$(BARE)/venv/bin/python -I tests/bare_use.py $(BARE)/used
	$(BARE)/venv/bin/ibtrack --help
	$(BARE)/venv/bin/ibtrack list $(BARE)/used/runs
	$(BARE)/venv/bin/ibtrack show $(BARE)/used/runs/toy
	rm -rf $(BARE)

# about an hour on two cores; each program leaves its JSON and can be run alone
bench: $(READY)
	set -e; for name in $(BENCHMARKS); do \
		echo "== $$name"; CUDA_VISIBLE_DEVICES= $(BIN)/python experiments/benchmarks/$$name.py --json $(RESULTS)/$$name.json; \
	done
	$(BIN)/python experiments/benchmarks/gpu.py --json $(RESULTS)/gpu.json
	@echo; $(BIN)/python experiments/benchmarks/table.py $(RESULTS)

# about an hour on two cores; the intervals (--coverage), ablation.py, differences.py and claims.py take
# longer and are run by hand
truth: $(READY)
	mkdir -p $(ERRORS)
	set -e; for name in $(CLOUDS); do \
		echo "== $$name"; $(BIN)/python experiments/benchmarks/truth.py --set $$name --json $(ERRORS)/$$name.json; \
	done

# on a machine with a GPU, by the Python there that has PyTorch for it; it needs pytest, torchmetrics, scipy, typer and
# msgspec as well, and soft-entropy (with jax) for the comparison with it; some four minutes
gpu:
	$(PYTHON) -m pytest tests/test_cuda.py -o addopts= -q
	mkdir -p $(RESULTS)
	$(PYTHON) experiments/benchmarks/gpu.py --json $(RESULTS)/gpu.json

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) outputs multirun dist build

# soft-entropy is what the tests compare with; --no-deps leaves out its jax and matplotlib, which they do not use
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(INSTALL) torch
	$(BIN)/python $(INSTALL) --editable '.[test,lint,docs,package]'
	$(BIN)/python $(INSTALL) --no-deps soft-entropy
	touch $(READY)
