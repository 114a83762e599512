# distillfarm: `make demo` runs the main job, `make test` the tests; `make help` lists the rest.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check
SOURCES := protos device_profiles compression agent controller
PYTEST := $(BIN)/python -m pytest
# Each of these processes loads torch and TensorFlow. The tests on stand-in phones come by
# themselves; those that start whole labs and watch their clocks run alone at the end.
TEST_WORKERS ?= 2
PARALLEL := -n $(TEST_WORKERS) --dist worksteal

# What the demo needs, and what the tests need beyond it (TensorFlow alone is 2 GB).
EXTRAS := agent,controller,compression,litert
TEST_EXTRAS := $(EXTRAS),tensorflow,coreml,coreai,executorch,ios,postgres,s3,dev

# Whoever sets this would have each of the tests' many processes compile what it imports.
unexport PYTHONDONTWRITEBYTECODE

# The pins stand for these versions; the first that can make an environment is taken.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	"$$python" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	2>/dev/null && echo "$$python" && break; done)

FLAVOUR ?= glibc-aarch64

PINS := pyproject.toml constraints.txt requirements-litert.txt
DEMO_STAMP := $(VENV)/.set-up
TEST_STAMP := $(VENV)/.set-up-for-tests

.PHONY: help
help:  ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## */\t/' | expand -t 16

.PHONY: demo
demo: $(DEMO_STAMP)  ## set up and run the main job on this computer
	@$(BIN)/distillfarm demo

.PHONY: test
test: $(TEST_STAMP)  ## set up and run every test
	$(PYTEST) $(PARALLEL) -m "not e2e and not phones"
	$(PYTEST) $(PARALLEL) -m phones
	$(PYTEST) -m e2e

.PHONY: unit
unit: $(TEST_STAMP)  ## the tests of single modules and of the architecture, under 3 minutes
	$(PYTEST) $(PARALLEL) tests/unit tests/architecture -m "not slow and not e2e and not phones"

.PHONY: lint
lint: $(TEST_STAMP)  ## format, style, types, layering, generated code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(SOURCES) tests $(wildcard bench/*.py)
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m distillfarm.wire.generate --check

.PHONY: format
format: $(TEST_STAMP)  ## rewrite the code in the project's style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: runner
runner: $(TEST_STAMP)  ## build the program that runs on phones: FLAVOUR=glibc-aarch64 or bionic-aarch64 (with ANDROID_NDK_HOME)
	$(MAKE) --no-print-directory -C agent/phone/android FLAVOUR=$(FLAVOUR) PYTHON=$(abspath $(BIN)/python)

.PHONY: hw-android
hw-android: $(TEST_STAMP)  ## prove the Android side on a phone: SERIAL=..., also ADB_PORT=, RUNTIMES_DIR=, ALLOW_REBOOT=1
	@[ -n "$(SERIAL)" ] || { echo "name the phone: make hw-android SERIAL=... (adb devices lists them)" >&2; exit 2; }
	DISTILLFARM_HW_SERIAL='$(SERIAL)' DISTILLFARM_HW_ADB_PORT='$(ADB_PORT)' DISTILLFARM_HW_ALLOW_REBOOT='$(ALLOW_REBOOT)' \
	$(if $(RUNTIMES_DIR),DISTILLFARM_AGENT_RUNTIMES_DIR='$(RUNTIMES_DIR)') $(PYTEST) -v tests/hardware

.PHONY: hw-ios
hw-ios: $(TEST_STAMP)  ## prove the iPhone side on one: UDID=..., also APP=path/of/DistillfarmRunner.ipa; needs the extra `ios`
	@[ -n "$(UDID)" ] || { echo "name the iPhone: make hw-ios UDID=... (distillfarm doctor lists them)" >&2; exit 2; }
	DISTILLFARM_HW_UDID='$(UDID)' $(if $(APP),DISTILLFARM_AGENT_IPHONE_APP='$(APP)') $(PYTEST) -v tests/hardware/ios

.PHONY: bench
bench: $(TEST_STAMP)  ## the benchmarks, about an hour; each prints a ratio against a peer or a limit
	@for script in bench/bench_*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

.PHONY: setup
setup: $(DEMO_STAMP)  ## the environment for the demo and for daily use

.PHONY: setup-test
setup-test: $(TEST_STAMP)  ## the environment for tests and development

$(BIN)/python:
	@[ -n "$(PYTHON)" ] || { echo "distillfarm needs Python 3.11 to 3.13 with venv and pip (on Debian: apt install python3-venv); or name one: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# hatchling and setuptools (for antlr4, which executorch needs and which has no wheel) come first so
# that every build uses the pinned ones instead of fetching its own. The byte code is written at
# the end, by every core at once: a sandboxed process may write none, and would compile what it
# imports at every start. Some files are templates, or for a later Python; those do not compile.
define INSTALL
	@echo "Setting up $(VENV) with distillfarm[$(1)]; the first time takes minutes"
	@date +%s > $(VENV)/.begun
	@$(PIP) install --quiet --no-compile --constraint constraints.txt hatchling editables setuptools
	@$(PIP) install --quiet --no-compile --constraint constraints.txt --no-build-isolation --editable ".[$(1)]"
	@$(PIP) install --quiet --no-compile --no-deps --requirement requirements-litert.txt
	@$(BIN)/python -m compileall -qq -j 0 -x '/tests/' $(VENV)/lib $(SOURCES) || true
	@echo "$(VENV) is ready after $$(( $$(date +%s) - $$(cat $(VENV)/.begun) )) s: $$(du -sh $(VENV) | cut -f1)"
endef

$(DEMO_STAMP): $(PINS) | $(BIN)/python
	$(call INSTALL,$(EXTRAS))
	@touch $@

$(TEST_STAMP): $(PINS) | $(BIN)/python
	$(call INSTALL,$(TEST_EXTRAS))
	@touch $(DEMO_STAMP) $@

.PHONY: constraints
constraints: $(TEST_STAMP)  ## write constraints.txt anew from the environment, after upgrading in it
	{ sed -n '/^#/p' constraints.txt; \
	  $(PIP) freeze --all --exclude-editable | grep -vE '^(pip|litert-torch|litert-converter)=' | sed 's/+cpu$$//'; \
	} > constraints.new
	mv constraints.new constraints.txt

.PHONY: clean
clean:  ## remove the environment, caches and results
	rm -rf $(VENV) .distillfarm .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
