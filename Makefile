# make demo   sets up, then goes the whole way on drawn pets
# make test   sets up, then formatting, lint, types, import rules, tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: setup demo test check check-all bench clean

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[train,openvino,tensorboard,serve,ray,dev]'
	@touch $@

demo: setup
	$(BIN)/petclassify demo

# Every core runs tests, so no test's arithmetic gets more than one.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal

test: check
	$(PYTEST)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The page counts what was tried to break it.
check-all: check
	$(PYTEST) -m '' --reliability docs/reliability.md

bench: setup
	$(BIN)/python benchmarks/spine.py
	$(BIN)/python benchmarks/finetuning.py
	$(BIN)/python benchmarks/zoo.py
	$(BIN)/python benchmarks/unknown.py
	$(BIN)/python benchmarks/label_check.py
	$(BIN)/python benchmarks/scoring.py
	$(BIN)/python benchmarks/image_size.py
	$(BIN)/python benchmarks/export.py
	$(BIN)/python benchmarks/serve.py

clean:
	rm -rf $(VENV) .venv-base
