# The two commands of the README, and the steps they are made of. Each one sets up what it needs.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test check lint types imports tests test-slow test-device test-browser test-huggingface campaign docs benchmarks-summary peers clean

demo: $(STAMP)            ## teacher -> student -> ONNX -> report on embedded data
	$(BIN)/compress demo runs/demo

test: check               ## every check, as CI runs it

check: lint types imports tests

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "compress needs Python 3.11 or later: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	touch $@

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports --no-cache

tests: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slow: $(STAMP) peers ## minutes rather than seconds: the wheel in an empty environment, the whole demo
	$(BIN)/python -m pytest -m slow --timeout 1800

test-device: $(STAMP)     ## packs over a real ssh server on loopback (apt install openssh-server)
	$(BIN)/python -m pytest -m device

test-browser: $(STAMP)    ## the report in headless Chromium (apt install chromium)
	$(BIN)/python -m pip install --quiet --group browser
	$(BIN)/python -m pytest -m browser

test-huggingface: $(STAMP)   ## the format that reads by `datasets`
	$(BIN)/python -m pip install --quiet --group huggingface
	$(BIN)/python -m pytest -m huggingface

campaign: $(STAMP)        ## attacks by the thousand: pickles, programs, names, links, damage, kills, fuzz (about an hour)
	for each in pickles torchscript external_data links damage kill fuzz; do \
	  echo "$$each"; OMP_NUM_THREADS=1 $(BIN)/python -m tests.campaigns.$$each || exit 1; \
	done

docs: $(STAMP)            ## write docs/cli.md anew from --help
	$(BIN)/python docs/generate_cli.py

benchmarks-summary: $(STAMP)
	$(BIN)/python -m benchmarks.summary

peers: $(STAMP)           ## what benchmarks/peers compares with
	$(BIN)/python -m pip install --quiet --group peers

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
