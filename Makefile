# Everything a developer or CI runs. `make help` lists it. Needs make and Python 3.11 or newer; the tests against a real
# broker also need Maven, once, to fetch its jars.

PYTHON ?= python3
VENV := .venv
CACHE := .cache
BROKER_JARS := $(CACHE)/broker
ASTERISK := $(CACHE)/asterisk
BROKER_PORT ?= 9092
REDIS_PORT ?= 6379
PYTEST_ARGS ?=
BIN := $(VENV)/bin
# Exact, so that the same lock comes out on every machine.
UV := uv==0.13.9

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test tests-with-servers tests-alone check fmt bench faults protocol soak servers asterisk setup lock clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/runtime.stamp  ## the whole program in one process, no server needed
	$(BIN)/interaction-router demo $(ARGS)

test: check $(BROKER_JARS)/jars.stamp  ## everything that CI runs: the checks, then all tests
	@deploy/asterisk $(ASTERISK) || true
	@$(MAKE) --no-print-directory -j2 tests-with-servers tests-alone

# Side by side, since the ones mostly wait for their servers; the others compute on what is left, and are shown at their end.
tests-with-servers:
	$(BIN)/python -m pytest -m "kafka or redis" $(PYTEST_ARGS)

tests-alone:
	@mkdir -p $(CACHE)
	@echo 'nice $(BIN)/python -m pytest -m "not (kafka or redis)" $(PYTEST_ARGS)'
	@nice $(BIN)/python -m pytest -m "not (kafka or redis)" $(PYTEST_ARGS) >$(CACHE)/tests-alone.log 2>&1; \
		code=$$?; cat $(CACHE)/tests-alone.log; exit $$code

check: $(VENV)/dev.stamp  ## lint, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(VENV)/dev.stamp  ## format and mend what can be mended
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

bench: $(VENV)/dev.stamp $(BROKER_JARS)/jars.stamp  ## measure against real servers
	$(BIN)/python -m tests.benchmarks $(ARGS)

faults: $(VENV)/dev.stamp $(BROKER_JARS)/jars.stamp  ## kill, pause, cut and wipe everything under load, then check (10 min)
	$(BIN)/python -m tests.faults.real $(ARGS)

protocol: $(VENV)/dev.stamp  ## explore every order in which records can arrive and owners can act (ARGS="--seconds 60")
	$(BIN)/python -m tests.protocol $(ARGS)

soak: $(VENV)/dev.stamp $(BROKER_JARS)/jars.stamp  ## a million interactions through a worker that is killed every 20 s (20 min)
	$(BIN)/python -m tests.faults.real.soak $(ARGS)

servers: $(VENV)/dev.stamp $(BROKER_JARS)/jars.stamp  ## run a real broker and Valkey until Ctrl-C (BROKER_PORT=, REDIS_PORT=)
	@$(BIN)/python -m tests.servers --broker-port $(BROKER_PORT) --redis-port $(REDIS_PORT)

asterisk:  ## unpack a real Asterisk for the tests, where the host is a Debian (SUITE=bullseye or sid)
	@deploy/asterisk $(ASTERISK) $(SUITE)

setup: $(VENV)/dev.stamp  ## only install what the other targets need
	@$(MAKE) --no-print-directory $(BROKER_JARS)/jars.stamp
	@deploy/asterisk $(ASTERISK) || true

lock: $(VENV)/python.stamp  ## pin and hash all packages anew from pyproject.toml
	$(BIN)/python -m pip install --quiet $(UV)
	deploy/lock $(BIN)/uv

clean:  ## remove what these targets made
	rm -rf $(VENV) $(CACHE) dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/python.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is not Python 3.11 or newer. Name one that is: make PYTHON=python3.12 ..." >&2; exit 69; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 69; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# Wheels are hashed; the package itself has no hash, so it is installed on its own, built by the backend installed before.
$(VENV)/runtime.stamp: $(VENV)/python.stamp constraints-runtime.txt pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints-runtime.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/runtime.stamp constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	@touch $@

# Without Maven the tests that need the broker skip locally; CI must not go on without them.
$(BROKER_JARS)/jars.stamp: deploy/broker/pom.xml
	@command -v mvn >/dev/null || { \
		echo "Maven is missing, so the real broker is too. On Debian and Ubuntu: apt-get install maven" >&2; \
		test -z "$$CI" || exit 69; }
	@mkdir -p $(BROKER_JARS)
	@! command -v mvn >/dev/null || { \
		rm -f $(BROKER_JARS)/*.jar; \
		mvn -q -B -C -f deploy/broker/pom.xml dependency:copy-dependencies -DincludeScope=runtime \
			-DoutputDirectory=$(CURDIR)/$(BROKER_JARS) && touch $@; }
