# `make test` checks everything and keeps what it computed; `make book` renders exactly that.
# Both need Python 3.11 or newer and make; the rest is installed into .venv on the first call.

PYTHON    ?= python3
VENV      ?= .venv
JOBS      ?= 2
NOTEBOOKS ?= $(wildcard book/*.ipynb)

PY    := $(VENV)/bin/python
READY := $(VENV)/.installed
LINT  := lint
CACHE := _build/.jupyter_cache
HTML  := _build/html

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help test book lab browser check lint execute clean

help:  ## list the targets
	@echo 'make TARGET [PYTHON=python3.11]'; echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{printf "%-10s %s\n", $$1, $$2}'

$(PY):
	@command -v $(PYTHON) >/dev/null || { \
	  echo 'No $(PYTHON) here. Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.11'; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version). Name another: make PYTHON=python3.11"; exit 1; }
	@echo '== creating $(VENV)'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(READY): requirements.txt pyproject.toml | $(PY)
	@echo '== installing requirements.txt into $(VENV) (some minutes the first time)'
	$(PY) -m pip install --disable-pip-version-check -r requirements.txt
	@touch $@

lint: $(READY)
	@echo '== style and import contracts'
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	@$(VENV)/bin/lint-imports

check: $(LINT)  ## style, import contracts and the rules of the house, without the long tests
	$(PY) -m pytest -q tests/house

test: $(LINT)  ## every test and every chapter, in one pytest run
	@rm -rf _build/stamp _build/tests.xml $(CACHE) && mkdir -p _build
	@$(PY) -m book._tools.stamp open
	@echo '== tests and chapters'
	$(PY) -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder --durations=15 --junitxml=_build/tests.xml --keep-outputs=$(CACHE)
	@$(PY) -m book._tools.stamp seal

book: $(READY)  ## render the book from the last test run; test first if anything changed since
	@$(PY) -m book._tools.stamp check || $(MAKE) test
	@rm -rf $(HTML) _build/.doctrees _build/jupyter_execute
	@echo '== rendering'
	$(VENV)/bin/jupyter-book build . --path-output . --all -W -n --keep-going
	@echo; echo 'Open $(abspath $(HTML))/index.html'

lab: $(READY)  ## open JupyterLab on the chapters
	$(VENV)/bin/jupyter lab --notebook-dir=book

execute: $(READY)  ## run the chapters again and store their outputs [NOTEBOOKS=book/NAME.ipynb]
	$(PY) -m book._tools.execute $(NOTEBOOKS)

browser: book  ## look at every page in headless Chromium (says how to install what is missing)
	@command -v node >/dev/null || { echo 'Node.js is missing. Debian and Ubuntu: apt-get install nodejs npm'; exit 1; }
	node book/_tools/browser.mjs --html $(HTML)

clean:  ## remove what was built, keep .venv
	rm -rf _build .ruff_cache .import_linter_cache .hypothesis
