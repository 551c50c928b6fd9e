# make demo   sets up, then goes the whole way on drawn pets
# make test   sets up, then formatting, lint, types, import rules, tests
# make docs   sets up, then makes the pages of docs/ as HTML, warnings being errors
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
# An older one's pip searches for packages that fit until it is stopped.
REQUIRE_PYTHON := import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: give it as make PYTHON=python3.12")

.PHONY: setup demo test check check-all docs bench release clean

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml
	@test -x $(BIN)/python || { $(PYTHON) -c '$(REQUIRE_PYTHON)' && $(PYTHON) -m venv $(VENV); }
	@echo "Setting up $(VENV): minutes, and 7 GB if torch has to come with CUDA"
	$(BIN)/python -m pip install --quiet --editable '.[train,openvino,tensorboard,serve,ray,dev]'
	@touch $@

demo: setup
	$(BIN)/petclassify demo
	@echo "Now run this in each new terminal, here:  source $(BIN)/activate"

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
	$(PYTEST) -m '' --reliability=docs/reliability.md

docs: setup
	$(BIN)/python docs/reference.py
	$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build/html

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
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/peers.py

# A release: sdist and wheel, then each extra installed afresh and used.
release:
	rm -rf dist $(VENV)-release
	$(PYTHON) -m venv $(VENV)-release
	$(VENV)-release/bin/python -m pip install --quiet build twine
	$(VENV)-release/bin/python -m build --quiet --outdir dist
	$(VENV)-release/bin/twine check --strict dist/*
	$(VENV)-release/bin/python tests/release.py dist/*.whl

clean:
	rm -rf $(VENV) $(VENV)-* docs/_build build/peers
