# make run    sets up what is missing and serves the product
# make test   sets up what is missing and runs every test that can run here

VENV := .venv
PYTHON ?= python3

.PHONY: run test lint clean

run: $(VENV)/run.installed
	@$(VENV)/bin/python manage.py up $(ARGS)

test: $(VENV)/dev.installed
	@.ci/test $(ARGS)

lint: $(VENV)/dev.installed
	@.ci/lint

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
