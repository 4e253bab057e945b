# One word for each thing to do; the same words are what CI says.
#
# Every target sets up .venv by itself, from the lock files, on a machine that has Python 3.11 or later and make.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 3
ARGS ?=
FAULTS ?=
ORDEALS := $(addprefix tests/integration/test_,$(addsuffix .py,redis_under_load redis_garbage redis_sentinel \
	redis_cluster redis_network kubernetes_throttled kubernetes_ordeals both_down killed_with_journal))

BIN := $(VENV)/bin
PY := $(BIN)/python
PIP := $(PY) -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --progress-bar off
BASE := $(VENV)/.ready
DEV := $(VENV)/.ready-for-development
TYPED := gateway chaos tests/rig scripts/monitoring

.PHONY: help demo test tools lint types fmt bench generated explore ordeals chaos load chart lock clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo     everything embedded: post recorded webhooks, show what became of them, stay up (ARGS=--exit: end)'
	@echo 'make test     all tests, on real components; builds what they need first (ARGS: for pytest)'
	@echo 'make tools    only build what the tests need'
	@echo 'make lint     ruff and the import rules      make fmt      format, and fix what can be fixed'
	@echo 'make types    mypy                           make bench    every figure beside the best there is'
	@echo 'make generated   dashboards, rules of the objectives, docs/metrics.md and docs/configuration.md'
	@echo 'make explore  more schedules of the simulation than the tests try (ARGS: how many, which seeds)'
	@echo '              FAULTS=1: instead random faults on real components (ARGS: --seeds 50, --minutes 60, --seed 7)'
	@echo 'make ordeals  failures as long as they are promised to be survived, with their figures'
	@echo 'make chaos    rehearses failures and judges what comes of them: results/chaos/report.html (ARGS: which; --full)'
	@echo 'make load     load campaigns on real components, audited: results/load (ARGS: which; --scale 0.02; --gateway URL)'
	@echo 'make chart    the Helm chart as a package, in dist; renews the schema of its values first'
	@echo 'make lock     newest versions into the lock files      make clean    remove what was made here'

demo: $(BASE)
	@$(PY) -m gateway demo $(ARGS)

test: tools
	@$(PY) -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

tools: $(DEV)
	@echo 'The components that tests and rehearsals run on:'
	@$(PY) -m chaos.rig.tools

lint: $(DEV)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo

types: $(DEV)
	@$(BIN)/mypy $(TYPED)

fmt: $(DEV)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(DEV)
	@$(PY) -m tests.bench $(ARGS)

generated: $(DEV)
	@$(PY) -m scripts.monitoring
	@$(PY) -m gateway config docs > docs/configuration.md

explore: $(if $(FAULTS),tools,$(DEV))
	@$(PY) -m $(if $(FAULTS),tests.faults,tests.simulation) $(ARGS)

ordeals: tools
	@FULL=1 $(PY) -m pytest -n 0 -s --no-header $(or $(ARGS),$(ORDEALS))

chaos: tools
	@$(PY) -m chaos run $(ARGS)

load: tools
	@$(PY) -m chaos load $(ARGS)

chart: $(DEV)
	@$(PY) scripts/chart_schema.py
	@$(PY) -m chaos.rig.tools helm
	@"$$($(PY) -c 'from chaos.rig.tools import find; print(find("helm"))')" package deploy/helm/gateway --destination dist

lock: $(VENV)/.created
	@$(INSTALL) uv
	@scripts/lock.sh $(BIN)/uv --upgrade

clean:
	rm -rf $(VENV) build dist results .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What runs the gateway, alone and with everything embedded.
$(BASE): $(VENV)/.created requirements.lock requirements-build.lock pyproject.toml
	@echo 'Setting up $(VENV): installing what the gateway needs ...'
	@$(INSTALL) --require-hashes -r requirements.lock
	@$(INSTALL) --require-hashes -r requirements-build.lock
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

# And what checks it. The development lock holds all of the others, in the same versions.
$(DEV): $(BASE) requirements-dev.lock
	@echo 'Setting up $(VENV): installing what the tests need ...'
	@$(INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo 'This needs Python 3.11 or later, and $(PYTHON) is' \
			"$$($(PYTHON) --version 2>/dev/null || echo 'not there'); try: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@
