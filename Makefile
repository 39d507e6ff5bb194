# Everything a machine with git, make and Python needs. VENV may point elsewhere: make test VENV=/some/folder
PYTHON ?= python3
VENV ?= .venv
export PYTHONWARNINGS := ignore:Editable installation
BIN := $(VENV)/bin
SHARED := -n auto --maxprocesses 4 --dist worksteal
STAMP := $(VENV)/.installed-$(shell cksum pyproject.toml | cut -d' ' -f1)
UV := $(VENV)-uv/bin/uv

.PHONY: demo test test-slow test-slurm test-browser test-anomalib test-older-torch test-lowest lint types bench docs clean

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
	$(BIN)/python -m pytest $(SHARED)

test-slow: $(STAMP) test-older-torch test-lowest  ## what takes more than a minute: full size, installed wheel, older packages
	$(BIN)/python -m pytest -m slow

test-browser: $(STAMP)  ## the site and the page of `serve` in a real Chromium; installs Debian's, as root or through sudo
	$(if $(filter 0,$(shell id -u)),,sudo) apt-get update -q
	$(if $(filter 0,$(shell id -u)),,sudo) apt-get install -qy --no-install-recommends chromium chromium-driver
	$(BIN)/python -m pytest -m slow tests/test_browser.py tests/adbench/serve/browser

test-anomalib:  ## anomalib's models with random weights, in an environment of their own
	@test -x $(VENV)-anomalib/bin/python || $(PYTHON) -m venv $(VENV)-anomalib
	$(VENV)-anomalib/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,anomalib]'
	$(VENV)-anomalib/bin/python -m pytest -m 'slow or not slow' tests/methods/anomalib

test-older-torch:  ## the fast tests under torch 2.11 with torchvision 0.26, in an environment of their own
	@test -x $(VENV)-torch211/bin/python || $(PYTHON) -m venv $(VENV)-torch211
	$(VENV)-torch211/bin/python -m pip install --quiet --disable-pip-version-check 'torch==2.11.*' 'torchvision==0.26.*' --editable '.[dev]'
	$(VENV)-torch211/bin/python -m pytest $(SHARED)

test-lowest:  ## the fast tests with the lowest versions that pyproject.toml allows, in an environment of their own
	@test -x $(UV) || ($(PYTHON) -m venv $(VENV)-uv && $(VENV)-uv/bin/python -m pip install --quiet --disable-pip-version-check uv)
	@test -x $(VENV)-lowest/bin/python || $(UV) venv --quiet --seed --python 3.11 $(VENV)-lowest
	$(UV) pip install --quiet --python $(VENV)-lowest/bin/python --resolution lowest-direct --editable '.[dev]'
	$(VENV)-lowest/bin/python -m pytest $(SHARED)

test-slurm: $(STAMP)  ## as root on Debian: install and start Slurm and munge, run cells as real Slurm jobs
	tests/slurm/slurm.sh install
	@mkdir -p build/slurm
	tests/slurm/slurm.sh start $(CURDIR)/build/slurm
	SLURM_CONF=$(CURDIR)/build/slurm/slurm.conf $(BIN)/python -m pytest -v -m 'slow or not slow' tests/adbench/executors/slurm; \
	code=$$?; tests/slurm/slurm.sh stop $(CURDIR)/build/slurm; exit $$code

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)  ## strict types: the four packages as installed, then a scaffolded package with the wheel
	$(BIN)/python tools/typed_tree.py build/types
	cd build/types && $(abspath $(BIN))/mypy --config-file $(CURDIR)/pyproject.toml -p adbench -p tools.phantom_clip
	$(BIN)/python tools/typed_scaffold.py build/scaffold

bench: $(STAMP)  ## print the benchmark tables
	$(BIN)/python benchmarks/metrics.py
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/sweep.py
	$(BIN)/python benchmarks/data.py
	$(BIN)/python benchmarks/leaderboard.py
	$(BIN)/python benchmarks/conformance.py
	$(BIN)/python benchmarks/before_after.py 7705c91

docs: $(STAMP)  ## build the documentation into site/; it opens from disk
	$(BIN)/python docs/build.py site

clean:
	rm -rf .venv .venv-* build dist site *.egg-info
