# chatd: `make run` serves on 127.0.0.1:8000, `make check` is what CI runs. Everything lives in .venv and $(DATA).

PORT ?= 8000
DATA ?= ./chatd-data
N ?= 5
PYTHON ?= python3

BIN := .venv/bin
INSTALLED := .venv/installed
# twistd in the foreground keeps no pid file, so that two can run from one folder.
TWISTD := $(BIN)/twistd -n --pidfile=
# Warnings are errors, except those with which Twisted uses pyOpenSSL. By the environment, which trial's workers inherit;
# tests/__init__.py keeps it from the programs that tests start.
WARNINGS := error,ignore::DeprecationWarning:twisted.internet._sslverify,ignore::DeprecationWarning:OpenSSL.SSL
# How many tests run at once: many of them wait for programs of their own.
JOBS ?= $(shell nproc 2>/dev/null || echo 2)

.PHONY: run install test lint types check bench soak cluster cluster-stop clean
.DEFAULT_GOAL := run

run: $(INSTALLED)
	@exec $(TWISTD) chatd --data '$(DATA)' --listen 'tcp:$(PORT):interface=127.0.0.1'

install: $(INSTALLED)

# Once, and again when a dependency changes. twistd finds plugins through dropin.cache, which is written here and now:
# later it may be run by somebody who cannot write into this folder.
$(INSTALLED): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'chatd needs Python 3.11 or newer; name it with: make PYTHON=python3.11' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo 'Python cannot make a virtual environment here; install it first: apt-get install python3-venv' >&2; exit 1; }
	@test -x $(BIN)/python || { echo 'Making .venv and installing, once.'; $(PYTHON) -m venv .venv; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[client,metrics,test]'
	@$(BIN)/python -c 'from twisted.plugin import IPlugin, getPlugins; list(getPlugins(IPlugin))'
	@touch $@

test: $(INSTALLED)
	PYTHONWARNINGS='$(WARNINGS)' $(BIN)/python -m twisted.trial --jobs $(JOBS) $(TRIAL) tests

lint: $(INSTALLED)
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: $(INSTALLED)
	$(BIN)/mypy

check: lint types test

bench: $(INSTALLED)
	$(BIN)/python tests/bench/run.py

soak: $(INSTALLED)
	$(BIN)/python -m tests.soak

cluster: $(INSTALLED)
	@exec $(TWISTD) chatd-cluster --nodes '$(N)' --port '$(PORT)' --data '$(DATA)'

# The pid is believed only if it is a cluster's; a zombie has gone.
cluster-stop:
	@pid=$$(cat '$(DATA)/run/cluster.pid' 2>/dev/null); \
	runs() { grep -qsa chatd-cluster "/proc/$$pid/cmdline" && ! grep -qs '^State:[[:space:]]*Z' "/proc/$$pid/status"; }; \
	if [ -z "$$pid" ] || ! runs; then echo 'No cluster runs on $(DATA).' >&2; exit 1; fi; \
	kill -TERM "$$pid" || exit 1; \
	waited=0; \
	while runs; do \
		waited=$$((waited + 1)); \
		if [ $$waited -gt 600 ]; then echo "The cluster (pid $$pid) still drains after a minute." >&2; exit 1; fi; \
		sleep 0.1; \
	done; \
	echo 'The cluster on $(DATA) has stopped.'

clean:
	rm -rf .venv build *.egg-info twisted/plugins/dropin.cache _trial_temp* .mypy_cache .ruff_cache .hypothesis
