# make run            installs what is missing and runs the product
# make test           installs what is missing and runs the quick tests (about four minutes on two cores)
# make test-all       runs the quick tests and the slow ones: servers under faults, every page in a browser, fuzzers
# make test-on PYTHON=/usr/bin/python3   runs the quick tests on that Python
# make test-citus     runs the tests on a Citus cluster (TEST_CITUS_URL)
# make fuzz           runs only the fuzzers, for some minutes: FUZZ_EXAMPLES requests an operation, FUZZ_BODIES bodies
# make prove          tests the promises under load and faults; needs root, PostgreSQL, Redis, libfaketime and two hours
# make bench-ingest   measures ingest and its alternatives; needs PostgreSQL and Redis, writes docs/benchmarks.md
# make bench-live     measures the live stream and the stock way; needs PostgreSQL, redis-server, wrk and Chromium
# make bench-queries  measures queries on 1 and 20 million readings, and on these sealed; needs PostgreSQL, about 10 GB, an hour
# make bench-storage  measures bytes per reading as rows and sealed, and how quickly both are read; needs PostgreSQL
# make bench-doors    measures line protocol beside JSON batches, and MQTT; needs PostgreSQL, Redis, Mosquitto and wrk
# make bench-pages    measures the fleet page in Chromium, on SQLite and on PostgreSQL with Redis
# make bench-alarms   measures the evaluation of alarms and ingest beside it; needs PostgreSQL
# make bench-compare BEFORE=DIR  compares the CPU time of this checkout and another; needs PostgreSQL, redis-server, wrk
# make recipes        runs the recipes of docs/recipes.md with the software that is installed: docs/CONTRIBUTING.md
# make screenshots    takes pictures of every page into .cache/screenshots, and the seven in docs/

VENV := .venv
PYTHON ?= python3
# What `uv sync` has set up has no pip.
INSTALL = $$(if grep -qs '^uv = ' $(VENV)/pyvenv.cfg; then echo uv pip install --python $(VENV); \
	else echo $(VENV)/bin/python -m pip install --disable-pip-version-check; fi) --quiet -r

.PHONY: run test test-all test-on test-citus fuzz prove lint audit clean bench-ingest bench-live bench-queries bench-storage bench-pages bench-alarms bench-doors bench-compare recipes screenshots

run: $(VENV)/run.installed
	@$(VENV)/bin/python manage.py up $(ARGS)

test: $(VENV)/dev.installed
	@.ci/test quick $(ARGS)

test-all: test
	@.ci/test slow

# Runs the quick tests on another Python, in a separate virtual environment: make test-on PYTHON=/usr/bin/python3
test-on:
	@.ci/test-on $(PYTHON)

# TEST_CITUS_URL: a database of the coordinator that knows its nodes. Makes databases of its own on all nodes.
test-citus: $(VENV)/dev.installed
	@TEST_CITUS_URL="$(TEST_CITUS_URL)" .ci/test-citus $(ARGS)

fuzz: $(VENV)/dev.installed
	@FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-200} FUZZ_BODIES=$${FUZZ_BODIES:-10000} \
	  .ci/test slow telemetry/tests/end_to_end/servers/test_schema_fuzzing.py telemetry/tests/unit/gateway/test_mutated_bodies.py \
	  telemetry/tests/unit/answers/test_hostile_parameters.py $(ARGS)

lint: $(VENV)/dev.installed
	@.ci/lint

audit: $(VENV)/dev.installed
	@.ci/audit

# Starts its own servers. For a short first run: SOAK_MINUTES=2 make prove ARGS="-k soak"
prove: $(VENV)/dev.installed
	@ENV_FILE=/dev/null PROVE=1 DATABASE_URL=$${TEST_DATABASE_URL:-postgresql://postgres@127.0.0.1:5432/telemetry} \
		REDIS_URL=$${TEST_REDIS_URL:-redis://127.0.0.1:6379/0} $(VENV)/bin/python -m pytest -v -s -o timeout=0 telemetry/tests/proofs $(ARGS)

bench-ingest: $(VENV)/dev.installed .cache/benchmarks/installed
	@command -v wrk >/dev/null || apt-get install -y -qq --no-install-recommends wrk || { echo "wrk is missing: install it."; exit 1; }
	@$(VENV)/bin/python -m benchmarks.ingest $(ARGS)

bench-live: $(VENV)/dev.installed
	@$(VENV)/bin/python -m benchmarks.live $(ARGS)

bench-queries: $(VENV)/dev.installed
	@$(VENV)/bin/python -m benchmarks.queries $(ARGS)

bench-storage: $(VENV)/dev.installed
	@$(VENV)/bin/python -m benchmarks.storage $(ARGS)

bench-doors: $(VENV)/dev.installed
	@$(VENV)/bin/python -m benchmarks.doors $(ARGS)
	@$(VENV)/bin/python -m benchmarks.mqtt $(ARGS)

bench-pages: $(VENV)/dev.installed
	@$(VENV)/bin/python -m benchmarks.pages $(ARGS)

bench-alarms: $(VENV)/dev.installed
	@$(VENV)/bin/python -m benchmarks.alarms $(ARGS)

bench-compare: $(VENV)/dev.installed
	@test -n "$(BEFORE)" || { echo "BEFORE is missing: make bench-compare BEFORE=/path/to/a/checkout"; exit 1; }
	@command -v wrk >/dev/null || apt-get install -y -qq --no-install-recommends wrk || { echo "wrk is missing: install it."; exit 1; }
	@$(VENV)/bin/python -m benchmarks.compare --before "$(BEFORE)" $(ARGS)

# Some of them only: make recipes ARGS="pandas prometheus"
recipes: $(VENV)/dev.installed
	@$(VENV)/bin/python -m benchmarks.recipes $(ARGS)

screenshots: $(VENV)/dev.installed
	@$(VENV)/bin/python -m benchmarks.pages.screenshots $(ARGS)

# The packages of the other contenders, in a virtual environment of their own.
.cache/benchmarks/installed: benchmarks/requirements.txt | $(VENV)/bin/python
	@echo "Installing the packages of the other contenders…"
	@$(PYTHON) -m venv .cache/benchmarks >/dev/null 2>&1 || PYTHONPATH=.cache/virtualenv $(PYTHON) -m virtualenv --quiet .cache/benchmarks
	@.cache/benchmarks/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# If python3 has no venv module (Debian packages it separately), virtualenv is used instead. The text with which venv
# then fails, on both outputs, would look like the end.
$(VENV)/bin/python:
	@echo "Setting up $(VENV)…"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, not " + sys.version.split()[0])'
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { \
		rm -rf $(VENV); \
		$(PYTHON) -m pip install --quiet --disable-pip-version-check --target .cache/virtualenv virtualenv && \
		PYTHONPATH=.cache/virtualenv $(PYTHON) -m virtualenv --quiet $(VENV); }

$(VENV)/run.installed: requirements.txt | $(VENV)/bin/python
	@echo "Installing the packages of the product…"
	@$(INSTALL) requirements.txt
	@touch $@

$(VENV)/dev.installed: requirements.txt requirements-dev.txt | $(VENV)/bin/python
	@echo "Installing the packages for tests…"
	@$(INSTALL) requirements-dev.txt
	@touch $@ $(VENV)/run.installed
