# Everything starts here: `make` lists what there is. Works with GNU make from 3.81 on (Debian, macOS).
PYTHON ?= python3
TEST_PROCESSES ?= logical
BIN := .venv/bin
INSTALLED := .venv/.installed
FLOWER := .venv-flower
FLWR := flwr==1.42.0
LOCKED := locked.txt locked-dev.txt
# Not among the hashes: another build of torch is another file under the same version, and brings others of these or none.
TORCH := torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z-]+
RESOLVE := $(BIN)/uv pip compile --universal --python-version 3.11 --no-header --quiet pyproject.toml

# torch's threads under contention cost a factor of five and more.
export OMP_NUM_THREADS := 1
export OMP_WAIT_POLICY := PASSIVE

.PHONY: help install demo test check lint types suite format constraints flower clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

install: $(INSTALLED) ## make .venv and install everything into it (the other targets do it by themselves)

# First what is known by hash, which pip refuses to mix with anything else; then torch, what it brings, and this checkout.
$(INSTALLED): pyproject.toml constraints.txt $(LOCKED)
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	  "$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || { \
	    echo "error: FedMem needs Python 3.11 to 3.14, and '$(PYTHON)' is not one; name one: make PYTHON=python3.12" >&2; exit 1; }; \
	  "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "error: '$(PYTHON)' cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }; \
	  "$(PYTHON)" -m venv --clear .venv; }
	@echo "installing FedMem and its dependencies into .venv: about 2 GB, some minutes"
	@[ -t 1 ] || quiet=--quiet; pip="$(BIN)/python -m pip install $$quiet --disable-pip-version-check"; \
	  $$pip --require-hashes --no-deps --only-binary :all: $(LOCKED:%=-r %) && \
	  $$pip --no-build-isolation -c constraints.txt -e '.[dev]'
	@touch $(INSTALLED)
	@echo "installed. The command is $(BIN)/fedmem; to type just fedmem: . $(BIN)/activate"

# Ports that are not given here are those of .env, or 8000 and 8501.
demo: $(INSTALLED) ## set up and start everything on an embedded catalogue: dashboard, API, trainer, a first training job
	@$(BIN)/fedmem up $(if $(PORT),--port $(PORT)) $(if $(DASHBOARD_PORT),--dashboard-port $(DASHBOARD_PORT))

# mypy takes its minute on one processor while the tests begin on the other.
test: lint ## every check and every test; what continuous integration runs
	@$(MAKE) --no-print-directory -j 2 types suite

check: lint types ## the fast part: format, lint, types, import contracts

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(INSTALLED)
	$(BIN)/mypy

# A file's tests stay in one process, which makes what they share once. One that takes ten minutes hangs: its stacks are shown.
suite: $(INSTALLED)
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --maxprocesses 8 --dist loadfile --no-loadscope-reorder --timeout 600

format: $(INSTALLED) ## format the code and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

constraints: $(INSTALLED) ## resolve constraints.txt anew from pyproject.toml, and the hashes of what it names
	$(BIN)/python -m pip install --disable-pip-version-check --quiet uv
	$(RESOLVE) --upgrade --all-extras -o constraints.txt
	$(RESOLVE) --no-annotate -c constraints.txt --extra offline --extra postgres --extra bucket -o .venv/image.txt
	$(RESOLVE) --no-annotate -c constraints.txt --all-extras --generate-hashes -o .venv/hashes.txt
	echo $(FLWR) | $(BIN)/uv pip compile --universal --python-version 3.11 --no-header --quiet --no-annotate --upgrade \
	  --generate-hashes - -o locked-flower.txt
	awk -F == -v torch='^($(TORCH))$$' 'NR == FNR { image[$$1]; next } \
	  /^[a-z]/ { file = $$1 ~ torch ? "/dev/null" : $$1 in image ? "locked.txt" : "locked-dev.txt" } { print > file }' \
	  .venv/image.txt .venv/hashes.txt

# Flower pins libraries lower than ours: it gets an environment of its own, which borrows all it does not pin from .venv.
flower: $(FLOWER)/.installed ## make .venv-flower, in which Flower reaches nodes of other owners (docs/deployment.md)

$(FLOWER)/.installed: $(INSTALLED) locked-flower.txt
	@"$(PYTHON)" -m venv --clear $(FLOWER)
	@$(FLOWER)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: -r locked-flower.txt
	@$(FLOWER)/bin/python -c 'import pathlib, site, sys; \
	  pathlib.Path(site.getsitepackages()[0], "fedmem.pth").write_text(f"import site; site.addsitedir({sys.argv[1]!r})\n")' \
	  "$$($(BIN)/python -c 'import site; print(site.getsitepackages()[0])')"
	@$(FLOWER)/bin/python -c 'import fedmem.nodes.flower.client_app'
	@touch $@
	@echo "made. Flower's commands are in $(FLOWER)/bin; docs/deployment.md says how they are used"

clean: ## remove caches and builds; .venv and what was trained (runs/) stay
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
