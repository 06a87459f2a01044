# make demo | test | check | docs | format | test-all | faults | fuzz | soak | soak-web | races | compat | bench: each one installs what it needs first.

SHELL := bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# How many processes run the tests, as in make test WORKERS=4; with 0, one that a debugger can stop.
WORKERS ?= 2
IN_WORKERS = -p xdist -n $(WORKERS) --dist loadfile --max-worker-restart=0
# A setting that keeps Python from storing compiled modules would have each program of a test compile all of qmi anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test check docs format test-all pytest faults fuzz soak soak-web races compat bench bench-web bench-growth bench-pages clean

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(STAMP)
	@$(BIN)/python -m qmi.tools.demo

test: $(STAMP)
	$(BIN)/python -m coverage erase
	$(BIN)/python -m pytest -p tests.support.measured $(IN_WORKERS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --fail-under=95

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32 qmi
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin qmi
	$(BIN)/python -m tests.verify_types
	$(BIN)/lint-imports

# The site, in docs/_build/html; a warning is an error. Nothing is fetched but what pip installs. Every page is read
# anew (-E) and written (-a): a page that was left alone would not repeat its warnings.
docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -q -W --keep-going -E -a -b html -d docs/_build/doctrees docs docs/_build/html

$(VENV)/.docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,docs]'
	touch $@

# Each Python has a virtual environment of its own; all of them are tried, and the failing ones are named at the end.
test-all:
	@failed=; \
	while read -r version python; do \
	    echo "== CPython $$version"; \
	    $(MAKE) --no-print-directory pytest VENV=.venv-$$version PYTHON=$$python </dev/null || failed="$$failed $$version"; \
	done < <(.ci/pythons); \
	test -z "$$failed" || { echo "Failed on CPython$$failed" >&2; exit 1; }

pytest: $(STAMP)
	$(BIN)/python -m pytest -q $(IN_WORKERS)

# Every row of the fault table, the slow ones too, and the table with what came out.
faults: $(STAMP)
	$(BIN)/python -m tests.faults

# All load and all faults at once. For how long, and with how many clients: make soak SECONDS=60 CLIENTS=10
soak: $(STAMP)
	$(BIN)/python -m tests.soak --seconds $(or $(SECONDS),600) --clients $(or $(CLIENTS),50)

# The pages, looked at for half an hour by a real Chromium and many streams: nothing may grow. make soak-web SECONDS=300
soak-web: $(STAMP)
	$(BIN)/python -m tests.soak.pages --seconds $(or $(SECONDS),1800)

# Many more rounds of the races than the tests run: make races ROUNDS=100000
races: $(STAMP)
	QMI_RACE_ROUNDS=$(or $(ROUNDS),20000) $(BIN)/python -m pytest -q --timeout=3600 tests/races

# QMI's own drivers and their tests, fetched and run with this library; some minutes. make compat ONLY=thorlabs,rigol
COMPAT := .venv-compat
$(COMPAT)/.installed: pyproject.toml
	test -x $(COMPAT)/bin/python || $(PYTHON) -m venv $(COMPAT)
	$(COMPAT)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[compat]'
	touch $@

compat: $(COMPAT)/.installed
	$(COMPAT)/bin/python -m tests.compat --only "$(ONLY)"

# Guided by coverage; in an environment of its own, since atheris exists for few Pythons. make fuzz SECONDS=600
FUZZ := .venv-fuzz
$(FUZZ)/.installed: pyproject.toml
	test -x $(FUZZ)/bin/python || $(PYTHON) -m venv $(FUZZ)
	$(FUZZ)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	touch $@

fuzz: $(FUZZ)/.installed
	$(FUZZ)/bin/python -m tests.fuzz --seconds $(or $(SECONDS),60)

# Beside its peers, which get environments of their own; BENCH="--only call_remote --rounds 3" measures less.
bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks.run $(BENCH)

# The pages: browsers, the first picture, a loop beside them, live plots. BENCH="--only web_pushes --rounds 1" measures less.
bench-web: $(VENV)/.bench
	$(BIN)/python -m benchmarks.run --web --rounds 3 --seconds 3 $(BENCH)

# How cost grows with how many there are, and its picture. BENCH="--kinds links" measures less.
bench-growth: $(VENV)/.bench
	$(BIN)/python -m benchmarks.growth $(BENCH)

bench-pages: $(STAMP)
	$(BIN)/python -m benchmarks.pages

$(VENV)/.bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,bench]'
	touch $@

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .venv-* build dist docs/_build docs/reference/api *.egg-info .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .fuzz
	find qmi tests docs examples benchmarks -name __pycache__ -prune -exec rm -rf {} +
