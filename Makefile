# Two commands need nothing but python3 and make:
#   make demo    install, run the main job on real patients, say where the report is
#   make test    install with the test tools, lint, run the fast tests
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
WORKERS ?= 2
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-slow bench lint clean

demo: $(VENV)/.installed
	$(BIN)/workbench demo -o demo --force
	@echo "Open demo/report.html in a browser."

test: lint
	$(BIN)/python -m pytest -m "not slow" -n $(WORKERS)

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow -n $(WORKERS) --timeout 3600

bench: $(VENV)/.installed-test
	for script in $$(ls benchmarks | grep -v '^_' | grep '\.py$$'); do \
	  $(BIN)/python -m benchmarks.$${script%.py} --quick || exit 1; done

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) demo
