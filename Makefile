# Everything a machine with git, make and Python needs. VENV may point elsewhere: make test VENV=/some/folder
PYTHON ?= python3
VENV ?= .venv
export PYTHONWARNINGS := ignore:Editable installation
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-$(shell cksum pyproject.toml | cut -d' ' -f1)

.PHONY: demo test test-slow test-older-torch lint types bench clean

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing adbench and what it needs into $(VENV): about 6 GB, several minutes"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)  ## install, run the main job on phantoms, show the leaderboard
	$(BIN)/adbench run method=madclip shots=16
	$(BIN)/adbench leaderboard runs --csv runs/leaderboard.csv
	@echo "records and pictures: $(CURDIR)/runs/<cell>/gallery/overview.png; leaderboard: $(CURDIR)/runs/leaderboard.csv"

test: $(STAMP) lint types  ## lint, types and the fast tests
	$(BIN)/python -m pytest

test-slow: $(STAMP) test-older-torch  ## what takes more than a minute: full size, installed wheel, an older torch
	$(BIN)/python -m pytest -m slow

test-older-torch:  ## the fast tests under torch 2.11 with torchvision 0.26, in an environment of their own
	@test -x $(VENV)-torch211/bin/python || $(PYTHON) -m venv $(VENV)-torch211
	$(VENV)-torch211/bin/python -m pip install --quiet --disable-pip-version-check 'torch==2.11.*' 'torchvision==0.26.*' --editable '.[dev]'
	$(VENV)-torch211/bin/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

bench: $(STAMP)  ## print the benchmark tables
	$(BIN)/python benchmarks/metrics.py
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/sweep.py

clean:
	rm -rf .venv build dist site *.egg-info
