# make run   a first answer from a real model on this CPU    make run Q="..." asks another question
# make test  the whole suite        make check  linters and type checkers        make wheel  see .ci/wheel
# make docs  the documentation as a site, in site/

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
Q ?= What is 3 times 8?

# value, not expansion: a dollar sign in the question is the user's.
export TTC_QUESTION := $(value Q)

.PHONY: run test test-cuda check format docs wheel clean

run: $(VENV)/.embedded
	@$(BIN)/ttc solve "$$TTC_QUESTION"

test: $(VENV)/.dev
	$(BIN)/python -m pytest

# Where a GPU is: needs a torch build with CUDA in the environment (pip install torch), or onnxruntime-gpu.
test-cuda: $(VENV)/.dev
	$(BIN)/python -m pytest -m cuda

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy tt_compute backends tests benchmarks examples tools
	$(BIN)/pyright --pythonpath $(BIN)/python
	@# What is verified is the installed package of the python on the PATH; --pythonpath does not count here.
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/pyright --verifytypes tt_compute --ignoreexternal > $(VENV)/.types \
		|| { grep -A1 "error:" $(VENV)/.types; exit 1; }

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.docs
	@# Not --quiet: what is not shown does not stop the build either.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

wheel: $(VENV)/.dev
	bash .ci/wheel $(BIN)/python

clean:
	rm -rf $(VENV) dist build site .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "tt_compute needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Making $(VENV) ..." >&2
	@$(PYTHON) -m venv $(VENV) \
		|| { echo "python's venv module is needed (Debian: apt install python3-venv)" >&2; exit 1; }

# A stamp for each set of requirements, so that a second run does no set-up.
$(VENV)/.embedded: pyproject.toml | $(VENV)/bin/python
	@echo "Installing tt_compute with the OpenVINO runtime (about 300 MB, once) ..." >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[embedded]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.embedded

$(VENV)/.docs: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@
