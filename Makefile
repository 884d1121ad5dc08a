# make demo   installs into .venv, trains LeNet-5 on the embedded digits, evaluates, predicts, reports
# make test   the fast test suite in the same environment
# make docs   writes the documents that are generated: the catalogue, the index, a page a family
PYTHON ?= python3
VENV   ?= .venv
# On Windows, make finds the programs of a virtual environment in another folder.
BIN    := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
RUN    := $(BIN)/chainrule
DEMO   := demo/lenet5

.PHONY: help demo test test-guide test-slow check seeds docs format clean

help:
	@sed -n 's/^# //p' Makefile

# The environment is brought up to date when what it should hold has changed. Versions are those of constraints.txt;
# torch comes first and by its exact version, so that pip considers no other build of it. torchvision is an oracle of
# tests, for its Python modules alone: without its dependencies it can ask for no other build either.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Chainrule needs Python 3.11 or newer, found " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt "torch==2.13.0"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps torchvision
	@$(BIN)/python -c 'open("$(VENV)/installed", "w").close()'

demo: $(VENV)/installed
	rm -rf $(DEMO)
	$(RUN) train lenet5 --out $(DEMO)
	$(RUN) evaluate $(DEMO)
	$(RUN) predict $(DEMO) docs/figures/digit-3.png docs/figures/digit-5.png
	$(RUN) explain $(DEMO) docs/figures/digit-3.png
	$(RUN) report $(DEMO)
	@$(BIN)/python -c 'from pathlib import Path; print("open in a browser:", Path("$(DEMO)/report.html").resolve().as_uri())'

test: $(VENV)/installed
	$(BIN)/python -m pytest -m "not slow" --numprocesses auto --dist loadgroup --no-loadscope-reorder

test-guide: $(VENV)/installed
	$(BIN)/python -m pytest -m slow tests/test_guide.py

test-slow: $(VENV)/installed
	$(BIN)/python -m pytest -m slow
	$(BIN)/python -m pytest -m "not slow" --budget tests/contracts

check: $(VENV)/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# the spread of a recipe's figures: ten seeds into the ledger, `make seeds RECIPE=vanishing-gradient`
seeds: $(VENV)/installed
	for seed in 0 1 2 3 4 5 6 7 8 9; do \
	  test -f runs/seeds/$(RECIPE)-$$seed/result.json || \
	  $(BIN)/chainrule train $(RECIPE) --seed $$seed --out runs/seeds/$(RECIPE)-$$seed || exit; done
	$(BIN)/python -m chainrule.reporting.ledger $(foreach seed,0 1 2 3 4 5 6 7 8 9,runs/seeds/$(RECIPE)-$(seed))

docs: $(VENV)/installed
	$(BIN)/python -m chainrule.reporting.documents

format: $(VENV)/installed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) demo build dist
