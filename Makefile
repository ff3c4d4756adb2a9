# Everything a fresh machine needs is set up by the first target that needs it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VENV_VLLM := .venv-vllm
BIN_VLLM := $(VENV_VLLM)/bin

<<<<<<< HEAD
.PHONY: setup demo test test-slow lint bench clean
=======
.PHONY: setup demo test test-vllm lint bench clean
>>>>>>> vllm
.DEFAULT_GOAL := test

setup: $(VENV)/.ready

# A .venv from the lock files, made again when one of them or pyproject.toml changes.
$(VENV)/.ready: requirements.lock requirements-no-deps.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "KoSent Hub needs Python 3.11 or newer; run: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements-no-deps.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

demo: setup
	$(BIN)/kosent-demo

test: setup
	$(BIN)/python -m pytest

<<<<<<< HEAD
test-slow: setup
	$(BIN)/python -m pytest --slow -m slow
=======
test-vllm: $(VENV_VLLM)/.ready
	$(BIN_VLLM)/python -m pytest tests/kosent_hub/test_vllm.py

# vLLM's CPU build wants other versions than the rest, so it has an environment of its own.
$(VENV_VLLM)/.ready: requirements-vllm.lock requirements-no-deps.lock pyproject.toml
	$(PYTHON) -m venv $(VENV_VLLM)
	$(BIN_VLLM)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN_VLLM)/pip install --quiet --disable-pip-version-check --no-deps -r requirements-vllm.lock
	$(BIN_VLLM)/pip install --quiet --disable-pip-version-check --no-deps -r requirements-no-deps.lock
	$(BIN_VLLM)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@
>>>>>>> vllm

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m pytest tests/benchmarks --benchmarks

clean:
	rm -rf $(VENV) $(VENV_VLLM) build dist *.egg-info
