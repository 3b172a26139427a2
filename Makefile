# The commands of a checkout. `make setup` needs Python ≥ 3.10, make and a package index; nothing else.
PYTHON ?= python3
VENV ?= .venv
CAMERA ?= simulated:
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SOURCES := pyproject.toml constraints/versions.txt

.PHONY: setup run check test test-device test-all rig-test wheels clean

setup: $(VENV)/.device
run: setup
	@exec $(BIN)/trichoscope run --camera "$(CAMERA)"

test: check test-device

# the device side's tests alone, on whatever PYTHON and VENV say
test-device: $(VENV)/.test
	$(BIN)/python -m pytest -m "not export"

test-all: $(VENV)/.export
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/export

# the drivers on the kernel's own, in a guest under emulation; ARGUMENTS: --json, --markdown, --only camera|handpiece|store
rig-test: $(VENV)/.test
	@$(BIN)/python -m tests.rig $(ARGUMENTS)

check: $(VENV)/.test
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy -p device -p calib -p runtime && $(BIN)/lint-imports

# every dependency of the device side as a wheel for the Jetson: JetPack 6 is Python 3.10, JetPack 7 is 3.12
wheels: setup
	sh constraints/aarch64-wheels.sh $(BIN)/python wheels

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "make setup: Python 3.10 or newer is needed; name one with PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "make setup: $(PYTHON) lacks its venv module; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }

$(VENV)/.device: $(SOURCES) | $(VENV)/bin/python
	$(PIP) install --quiet -c constraints/versions.txt -e .
	@touch $@
$(VENV)/.test: $(VENV)/.device
	$(PIP) install --quiet -c constraints/versions.txt -e '.[test]'
	@touch $@
$(VENV)/.export: $(VENV)/.test
	$(PIP) install --quiet -c constraints/versions.txt -e '.[export,test]'
	@touch $@

clean:
	rm -rf $(VENV) build dist wheels .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info
