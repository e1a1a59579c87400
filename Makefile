# What a person or CI runs. Everything is installed into .venv; nothing outside this directory is touched.

# PORT (first client port) and PROTOCOL are settled when the cluster in .coterie is made: 2379 and raft, unless set.
WORKERS ?= 2
# Tests of real processes wait more than they work.
PROCESS_WORKERS ?= 3
PEER ?= etcd
WORK ?= put

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
PURE := tests/core tests/engine tests/datadriven tests/contract/engine
# Experiments of the lab: as a whole too long for `make test`, which has a slice of the lab in what is left of it.
EXPERIMENTS := tests/lab/flp tests/lab/claims tests/lab/compare tests/lab/pacelc tests/lab/references
CHECKED := $(wildcard src tests bench examples)
COTERIE := env -u COTERIE_ENDPOINTS -u COTERIE_CACERT -u COTERIE_CERT -u COTERIE_KEY -u COTERIE_USER $(BIN)/coterie

.PHONY: help messages up down install dev test test-thorough test-protocols mutants lint format pictures bench limit failover endurance underload catchup clean
.DEFAULT_GOAL := help

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# ------------------------------------------------------------------------------- installation

# PYTHON= if that will do; else the PATH's first, unless another is much faster.
$(VENV)/bin/python:
	@for python in $(PYTHON) python3 python3.13 python3.12 python3.11 python /usr/bin/python3; do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  recent="$$python"; \
	  "$$python" -c 'import ensurepip, venv' 2>/dev/null || continue; \
	  if [ "$$python" != "$(PYTHON)" ]; then \
	    picked=$$("$$python" bench/pick_python.py "$$python" python3.13 python3.12 python3.11 /usr/bin/python3) && python="$$picked"; \
	  fi; \
	  echo "Using $$python, $$("$$python" --version) (PYTHON= names another)"; \
	  "$$python" -m venv $(VENV) && exit 0; \
	  rm -rf $(VENV); echo "$$python could not make a virtual environment in $(VENV)" >&2; exit 1; \
	done; \
	if [ -n "$$recent" ]; then echo "$$recent cannot make virtual environments: install its venv package (Debian: apt install python3-venv)" >&2; \
	else echo "Coterie needs Python 3.11 or newer, and there is none on the PATH: install one, or name it with PYTHON=" >&2; fi; \
	exit 1

# What `make up` and every command of the README need. The extras are for bench/ and the lab's figures alone, so their absence stops nothing else.
$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@echo "Installing into $(VENV) ..."
	@$(PIP) install --editable '.[bench,lab]' || { \
	  echo "What benchmarks and figures need cannot be installed here; going on without." >&2; $(PIP) install --editable .; }
	@touch $@

$(VENV)/.developing: pyproject.toml $(VENV)/.installed
	@$(PIP) install --editable '.[dev]'
	@touch $@

install: $(VENV)/.installed  ## install into .venv
dev: $(VENV)/.developing  ## install into .venv, with what the checks need

# Other people's clients of etcd, each with what it needs, apart from .venv: tests skip those that cannot be installed.
CLIENTS := .clients
PYTHON_CLIENTS := etcd3==0.12.0 'protobuf<4' 'tenacity>=6.1,<7' 'etcd3gw>=2.4,<3' 'patroni[etcd3]>=4,<5' 'psycopg2-binary>=2.9,<3'
NODE_CLIENTS := etcd3@1.1.2

$(CLIENTS)/.installed: Makefile | $(VENV)/bin/python
	@echo "Installing clients of etcd into $(CLIENTS) ..."
	@{ [ -x $(CLIENTS)/python/bin/python ] || $(BIN)/python -m venv $(CLIENTS)/python; } \
	  && $(CLIENTS)/python/bin/python -m pip --quiet --disable-pip-version-check install $(PYTHON_CLIENTS) \
	  || echo "Clients in Python cannot be installed here; going on without." >&2
	@mkdir -p $(CLIENTS)/node && { command -v npm >/dev/null || { echo "npm is not installed" >&2; false; }; } \
	  && npm install --prefix $(CLIENTS)/node --silent --no-audit --no-fund --no-save $(NODE_CLIENTS) \
	  || echo "Clients for node cannot be installed here; going on without." >&2
	@touch $@

clients: $(CLIENTS)/.installed  ## install other people's clients of etcd into .clients, for tests

# ---------------------------------------------------------------------------- a cluster to try

up: $(VENV)/.installed  ## start three nodes on this machine (PORT=2379 PROTOCOL=raft TLS=1), write a key and read it
	@$(COTERIE) up --nodes 3 $(if $(PORT),--client-port $(PORT)) $(if $(PROTOCOL),--protocol $(PROTOCOL)) $(if $(TLS),--tls) --detach
	@$(COTERIE) status
	@$(COTERIE) put greeting hello
	@printf 'greeting = ' && $(COTERIE) get greeting
	@printf '\nTry next:\n'
	@printf '  %-44s%s\n' \
	  "$(BIN)/coterie range a z" "read a range of keys" \
	  "$(BIN)/coterie bench put --in-flight 64" "measure it" \
	  "$(BIN)/coterie status" "then kill -9 the leader's pid, and look again" \
	  "make down" "stop it; the data stay in .coterie"

patroni: $(VENV)/.installed $(CLIENTS)/.installed  ## high-available PostgreSQL on this machine: three Patroni nodes on three of ours
	@$(BIN)/python examples/patroni/run.py

down:  ## stop what `make up` started; the data stay
	@if [ -x $(BIN)/coterie ]; then $(BIN)/coterie down; else echo "Nothing is up."; fi

# --------------------------------------------------------------------------------------- checks

lint: $(VENV)/.developing  ## format, lint, types, import rules
	@$(BIN)/ruff format --check --quiet $(CHECKED) || { echo "Not formatted: run 'make format'." >&2; exit 1; }
	@$(BIN)/ruff check --quiet $(CHECKED)
	@$(BIN)/mypy $(CHECKED)
	@$(BIN)/lint-imports --no-logo

test: lint $(CLIENTS)/.installed  ## everything that must hold: `make lint`, then the tests, with the coverage of core/ and engine/
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal $(PURE) -m "not slow" --cov --cov-report=term
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal $(PURE) -m slow
	@$(BIN)/python -m pytest -q -n $(PROCESS_WORKERS) --dist worksteal $(addprefix --ignore=,$(PURE) $(EXPERIMENTS)) -m "not thorough and not clients"

test-thorough: $(VENV)/.developing  ## what takes too long for `make test`: whole experiments of the lab, slow planted bugs
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m thorough tests
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m "not thorough" $(EXPERIMENTS)

test-clients: $(VENV)/.developing $(CLIENTS)/.installed  ## other people's clients of etcd against clusters of ours and etcd's, at length
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal --every-protocol tests/clients

test-protocols: $(VENV)/.developing  ## every test of the contract for every protocol, also what no protocol should change
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal --every-protocol tests/contract tests/runtime tests/cli

mutants: $(VENV)/.developing  ## plant known bugs, and see that simulation finds each (ONLY=R09,L01 BUDGET=120)
	@$(COTERIE) sim mutants --budget $(or $(BUDGET),120) $(if $(ONLY),--only $(ONLY))

format: $(VENV)/.developing  ## format and sort imports
	@$(BIN)/ruff check --quiet --select I --fix $(CHECKED)
	@$(BIN)/ruff format $(CHECKED)

messages: $(VENV)/.developing  ## make the messages of etcd's API from the .proto files
	@$(BIN)/python -m coterie.etcd.wire.making

pictures: $(VENV)/.developing  ## draw the documents' diagrams and pictures anew, from runs of one seed (ONLY=flp-walk)
	@$(BIN)/python -m coterie.lab $(if $(ONLY),docs/lab/pictures/$(ONLY).svg,docs/protocols.md docs/lab/pictures)

# ----------------------------------------------------------------------------------- benchmarks

bench: $(VENV)/.installed  ## compare with a peer, in one run (PEER=etcd|pysyncobj|raft WORK=put|get)
	@$(BIN)/python bench/compare.py --peer $(PEER) --work $(WORK) $(if $(PROTOCOL),--protocol $(PROTOCOL))

limit: $(VENV)/.installed  ## what this machine could do at best, in Python
	@$(BIN)/python bench/limit.py

failover: $(VENV)/.installed  ## how long no write is served when the leader fails, beside etcd (TRIALS=20)
	@$(BIN)/python bench/compare.py --peer etcd --work failover $(if $(TRIALS),--trials $(TRIALS)) $(if $(PROTOCOL),--protocol $(PROTOCOL))

endurance: $(VENV)/.installed  ## a long run: log, memory, pauses, restarts, with plots (BYTES=1G)
	@$(BIN)/python bench/endurance.py $(if $(BYTES),--bytes $(BYTES)) $(if $(PROTOCOL),--protocol $(PROTOCOL))

underload: $(VENV)/.installed  ## ten minutes beside processes that want processors and disk: no election without a cause
	@$(BIN)/python bench/under_load.py $(if $(PROTOCOL),--protocol $(PROTOCOL))

catchup: $(VENV)/.installed  ## a new member catches up with 1 M keys, under a load of puts
	@$(BIN)/python bench/catch_up.py $(if $(PROTOCOL),--protocol $(PROTOCOL))

clean: down  ## stop the cluster, remove .venv, caches and the cluster's data
	@rm -rf $(VENV) $(CLIENTS) .coterie .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.* htmlcov dist build
