# zonecut: everything that a person does with a checkout. `make help` lists it.
#
# Needs make, and Debian 12 or later (or any Linux with Python 3.11: `make PYTHON=python3.12 ...`). As root, missing
# packages are installed; otherwise they are named.

PYTHON ?= /usr/bin/python3
ADAPTER ?= zonefile
FUZZ_SECONDS ?= 60
SOAK_ROUNDS ?= 100
RELEASE ?= trixie
MIRROR ?=

# The pip that reads dependency groups and build constraints; the one that comes with Debian 12 does neither.
PIP_VERSION := 26.3

VENV := .venv
BIN := $(VENV)/bin
WORK := .work
PIP := $(BIN)/python -m pip --disable-pip-version-check
PIP_INSTALL := $(PIP) install --quiet --constraint constraints.txt --build-constraint constraints.txt

# Shells that are not login shells may lack the directories where Debian keeps servers.
export PATH := $(PATH):/usr/sbin:/sbin

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-on unit integration bench soak fuzz lint format constraints servers venv clean

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r target text; do \
	    printf '  make %-12s %s\n' "$$target" "$$text"; done

demo: $(VENV)/.runtime ## A guided tour of both sides, on loopback, step by step (ADAPTER=bind|knot|powerdns: a real server)
	@case '$(ADAPTER)' in \
	    bind|knot) integration/install-servers '$(ADAPTER)' ;; \
	    powerdns) integration/install-servers pdns ;; \
	esac
	@$(BIN)/zonecut demo --adapter '$(ADAPTER)'

test: lint unit integration ## Everything that must hold: lint, unit tests, tests against real servers

test-on: ## All of that on another Debian release, in a fresh root: RELEASE=trixie (root and debootstrap needed; MIRROR=URL)
	@MIRROR='$(MIRROR)' integration/test-on --fresh '$(RELEASE)'

unit: $(VENV)/.development ## The tests that need no server (seconds)
	$(BIN)/pytest tests -n auto

integration: $(VENV)/.development servers ## The tests against real servers (minutes)
	@integration/run-tests $(BIN)/python

bench: $(VENV)/.development servers ## Measure; writes bench.json
	cd integration && PYTHONPATH=worlds:peers ../$(BIN)/python -m bench

soak: $(VENV)/.development servers ## The tests that take hours: SOAK_ROUNDS kills of each kind, and integration/soak
	if [ -d integration/soak ]; then integration/run-tests $(BIN)/python integration/soak; fi
	ZONECUT_ROUNDS=$(SOAK_ROUNDS) integration/run-tests $(BIN)/python integration -m crash -rP --ignore=integration/soak

fuzz: $(VENV)/.development ## Every fuzz target for FUZZ_SECONDS each; what it learnt stays in .work/fuzz
	@set -eu; for target in tests/fuzz/fuzz_*.py; do \
	    name=$$(basename "$$target" .py); name=$${name#fuzz_}; \
	    echo "$$name: $(FUZZ_SECONDS) s"; \
	    $(BIN)/python tests/fuzz/run.py "$$name" -max_total_time=$(FUZZ_SECONDS); \
	done

# tests and integration have a conftest.py each: two modules of one name, so two runs of mypy.
lint: $(VENV)/.development ## Style, types, and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests
	$(BIN)/mypy integration
	$(BIN)/lint-imports

format: $(VENV)/.development ## Rewrite the sources in the house's style
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

constraints: ## Resolve all dependencies afresh and pin them in constraints.txt
	rm -rf $(WORK)/constraints
	$(PYTHON) -m venv $(WORK)/constraints
	$(WORK)/constraints/bin/python -m pip install --quiet pip==$(PIP_VERSION)
	$(WORK)/constraints/bin/python -m pip install --quiet --group dev --editable '.[all]' hatchling editables
	{ echo '# Written by `make constraints`: what a checkout is built, run and tested with.'; \
	    $(WORK)/constraints/bin/python -m pip freeze --exclude-editable | grep '=='; } > $(WORK)/constraints.txt
	mv $(WORK)/constraints.txt constraints.txt
	rm -rf $(WORK)/constraints

servers: ## Install the servers that the tests need
	@integration/install-servers bind knot mariadb pdns postgresql unbound

venv: $(VENV)/.development ## The virtual environment, with everything for development

clean: ## Remove all that was made here
	rm -rf $(VENV) $(WORK) bench.json dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is newer than the files that say what is installed, or the environment is brought up to date.
$(VENV)/.runtime: pyproject.toml constraints.txt
	@$(ensure_python)
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@$(PIP) install --quiet pip==$(PIP_VERSION)
	@$(PIP_INSTALL) --editable '.[speed,knot,powerdns]'
	@touch $@

$(VENV)/.development: $(VENV)/.runtime
	@$(PIP_INSTALL) --group dev
	@touch $@

define ensure_python
set -eu; \
if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
        apt-get update -qq; \
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
            python3 python3-venv >/dev/null; \
    else \
        echo 'zonecut needs python3 and python3-venv: apt-get install python3 python3-venv' >&2; exit 2; \
    fi; \
fi; \
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
    echo "zonecut needs Python 3.11 or later, $(PYTHON) is older: make PYTHON=..." >&2; exit 2; }
endef
