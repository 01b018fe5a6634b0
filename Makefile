# make run    sets up what is missing and serves the product
# make test   sets up what is missing and runs the tests that answer within three minutes
# make test-all   those, and the slow ones: real servers in trouble, every page in a browser, fuzzers
# make test-on PYTHON=/usr/bin/python3   the quick suite on that Python
# make fuzz   the fuzzers alone, for some minutes: FUZZ_EXAMPLES requests an operation, FUZZ_BODIES bent bodies
# make prove  shows under fire that the promises hold; needs root, PostgreSQL, Redis, libfaketime and two hours
# make bench-ingest   measures the ingest beside its alternatives; needs PostgreSQL and Redis, writes docs/benchmarks.md
# make bench-live     measures the live stream beside the stock way; needs PostgreSQL, redis-server, wrk and Chromium
# make bench-queries  measures questions on 1 and 20 million readings; needs PostgreSQL, some 10 GB and half an hour
# make bench-pages    measures the fleet page in Chromium, on SQLite and on PostgreSQL with Redis
# make bench-compare BEFORE=DIR  compares this checkout with another by CPU time; needs PostgreSQL, redis-server and wrk
# make screenshots    takes pictures of every page into .cache/screenshots, and the four in docs/

VENV := .venv
PYTHON ?= python3

.PHONY: run test test-all test-on fuzz prove lint audit clean bench-ingest bench-live bench-queries bench-pages bench-compare screenshots

run: $(VENV)/run.installed
	@$(VENV)/bin/python manage.py up $(ARGS)

test: $(VENV)/dev.installed
	@.ci/test quick $(ARGS)

test-all: test
	@.ci/test slow

# The quick suite on another Python, in a virtual environment of its own: make test-on PYTHON=/usr/bin/python3
test-on:
	@.ci/test-on $(PYTHON)

fuzz: $(VENV)/dev.installed
	@FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-200} FUZZ_BODIES=$${FUZZ_BODIES:-10000} \
	  .ci/test slow telemetry/tests/end_to_end/test_schema_fuzzing.py telemetry/tests/unit/test_mutated_bodies.py \
	  telemetry/tests/unit/test_hostile_parameters.py $(ARGS)

lint: $(VENV)/dev.installed
	@.ci/lint

audit: $(VENV)/dev.installed
	@.ci/audit

# Against servers of its own; SOAK_MINUTES=2 make prove ARGS="-k soak" for a first look.
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

bench-pages: $(VENV)/dev.installed
	@$(VENV)/bin/python -m benchmarks.pages $(ARGS)

bench-compare: $(VENV)/dev.installed
	@test -n "$(BEFORE)" || { echo "Say what to compare with: make bench-compare BEFORE=/path/to/a/checkout"; exit 1; }
	@command -v wrk >/dev/null || apt-get install -y -qq --no-install-recommends wrk || { echo "wrk is missing: install it."; exit 1; }
	@$(VENV)/bin/python -m benchmarks.compare --before "$(BEFORE)" $(ARGS)

screenshots: $(VENV)/dev.installed
	@$(VENV)/bin/python -m benchmarks.screenshots $(ARGS)

# The other contenders, apart from what the product runs on.
.cache/benchmarks/installed: benchmarks/requirements.txt | $(VENV)/bin/python
	@echo "Installing what the benchmarks compare with…"
	@$(PYTHON) -m venv .cache/benchmarks 2>/dev/null || PYTHONPATH=.cache/virtualenv $(PYTHON) -m virtualenv --quiet .cache/benchmarks
	@.cache/benchmarks/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# Where python3 has no venv of its own (Debian packs it apart), virtualenv does the same.
$(VENV)/bin/python:
	@echo "Setting up $(VENV)…"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, not " + sys.version.split()[0])'
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { \
		rm -rf $(VENV); \
		$(PYTHON) -m pip install --quiet --disable-pip-version-check --target .cache/virtualenv virtualenv && \
		PYTHONPATH=.cache/virtualenv $(PYTHON) -m virtualenv --quiet $(VENV); }

$(VENV)/run.installed: requirements.txt | $(VENV)/bin/python
	@echo "Installing what it runs on…"
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/dev.installed: requirements.txt requirements-dev.txt | $(VENV)/bin/python
	@echo "Installing what it is tested with…"
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/run.installed
