# Short targets. The logic is in build.py, the `cxg` command and pytest.
# Works with GNU make 3.81 and newer, on Linux and macOS.

VENV    := .venv
BIN     := $(VENV)/bin
# The first Python that is new enough; `make PYTHON=/path/to/python3.12` overrides it.
PYTHON  ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
             $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PIP     := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Two files at a time: the tests of these suites wait for containers and browsers half of their time.
TWO     := -n 2 --dist loadfile
LOCKED  := requirements requirements-build requirements-dev requirements-integration

.DEFAULT_GOAL := help
.PHONY: help env run test coverage lint client build-client sample integration browser soak screenshot build push release bench bench-quick lock clean

help:  ## this list
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z-]*\):.*## /  \1@/p' Makefile | awk -F@ '{ printf "%-15s %s\n", $$1, $$2 }'

run: env client sample  ## the sample dataset in your browser, on this machine only (PORT=5005)
	@$(BIN)/cxg launch build/sample $(if $(PORT),--port $(PORT))

env: $(VENV)/.runtime  ## .venv with the `cxg` command in it

test: $(VENV)/.dev  ## the unit tests (no Docker, no network)
	@$(BIN)/python -m pytest -q -n auto $(ARGS)

coverage: $(VENV)/.dev  ## the unit tests, and which lines they run
	@$(BIN)/python -m pytest -q -n auto --cov --cov-report=term:skip-covered $(ARGS)

lint: $(VENV)/.dev  ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

client: env  ## the web client into build/client (CLIENT=DIR takes one you built)
	@$(BIN)/python build.py client $(if $(CLIENT),--client "$(CLIENT)")

build-client: client  ## the same

sample: env  ## a small real dataset into build/sample
	@$(BIN)/python build.py sample

integration: $(VENV)/.integration  ## tests that need Docker
	@$(BIN)/python -m pytest -q $(TWO) -m integration $(ARGS)

browser: $(VENV)/.integration client sample  ## tests that need Chromium and Firefox
	@$(BIN)/python -m pytest -q $(TWO) -m browser $(ARGS)

soak: $(VENV)/.integration  ## visitors, hostile clients and disturbed files for MINUTES=30, every answer judged (Linux)
	@$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),30) $(ARGS)

build: $(VENV)/.build client  ## image and artifact.zip for Elastic Beanstalk (IMAGE=registry/name:tag)
	@$(BIN)/python build.py build $(if $(IMAGE),--image "$(IMAGE)") $(ARGS)

push: $(VENV)/.build  ## the image to a registry (IMAGE=registry/name:tag)
	@$(BIN)/python build.py push $(if $(IMAGE),--image "$(IMAGE)") $(ARGS)

release: $(VENV)/.build  ## changelog, version, commit and tag of a new version (VERSION=X.Y.Z)
	@$(BIN)/python build.py release $(VERSION)

screenshot: $(VENV)/.integration client sample  ## docs/screenshot.png again (needs Chromium)
	@$(BIN)/python -m tests.browser.screenshot

bench: env client  ## compare with the published cellxgene, write docs/benchmarks.md (hours; ARGS="--only SECTION,...")
	@$(BIN)/python -m benchmarks $(ARGS)

bench-quick: env client  ## the same on small sizes (two minutes)
	@$(BIN)/python -m benchmarks --quick $(ARGS)

lock:  ## resolve requirements*.in again (needs `uv`)
	@for name in $(LOCKED); do echo $$name.txt; \
	  uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-emit-package pywin32 --no-emit-package colorama --output-file $$name.txt $$name.in || exit 1; done

clean:  ## remove everything made here: .venv, build/, caches
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache artifact.zip

# One stamp per set of requirements: nothing is resolved or installed twice.
$(VENV)/.python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found. Install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than Python 3.11 or does not start. Name another: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@echo "env: making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.runtime: $(VENV)/.python requirements.txt pyproject.toml
	@echo "env: installing requirements.txt (about 400 MB unpacked, once)"
	@$(PIP) install --require-hashes -r requirements.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.build: $(VENV)/.runtime requirements-build.txt
	@$(PIP) install --require-hashes -r requirements-build.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.txt
	@echo "env: installing requirements-dev.txt"
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@

$(VENV)/.integration: $(VENV)/.dev requirements-integration.txt
	@echo "env: installing requirements-integration.txt"
	@$(PIP) install --require-hashes -r requirements-integration.txt
	@touch $@
