# Two commands do all the set-up on a fresh machine: `make demo` runs the main job, `make test` passes the tests.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PACKAGES := g++ make bubblewrap python3-venv

.PHONY: demo test lint types docs clients system

demo: $(VENV)/.host
	$(BIN)/kernelwright demo

test: $(VENV)/.dev lint types clients
	$(BIN)/python -m pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy cannot follow the mapping of folders to packages, so it is shown one.
types: $(VENV)/.dev
	@mkdir -p build/typing/kernelwright
	@for room in server tools references kernels_src; do ln -sfn ../../../$$room build/typing/kernelwright/$$room; done
	MYPYPATH=build/typing $(BIN)/mypy -p kernelwright.server -p kernelwright.tools

# The generated parts of README.md; a test holds them true.
docs: $(VENV)/.dev
	$(BIN)/python -m kernelwright.server.docs README.md

# The real Codex, which the tests drive; without npm they skip themselves and say so.
clients:
	@if command -v npm >/dev/null; then sh tests/clients/install.sh codex; else echo "no npm: tests of real clients are skipped"; fi

# System packages, where this user may install them; `kernelwright doctor` names what is missing otherwise.
system:
	@missing=""; for p in $(PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	if [ -z "$$missing" ]; then :; \
	elif ! command -v apt-get >/dev/null; then echo "install with your package manager:$$missing"; \
	elif [ "$$(id -u)" = 0 ]; then (apt-get update -qq && apt-get install -y -qq $$missing >/dev/null) || echo "could not install:$$missing"; \
	elif sudo -n true 2>/dev/null; then (sudo apt-get update -qq && sudo apt-get install -y -qq $$missing >/dev/null) || echo "could not install:$$missing"; \
	else echo "to install what is missing: sudo apt-get install$$missing"; fi

$(VENV)/.python: | system
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.host: $(VENV)/.python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[host]'
	touch $@

$(VENV)/.dev: $(VENV)/.host
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
