# `make help` lists the targets. Two of them are all that most people need: `make demo` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:
MAKEFLAGS += --no-builtin-rules --no-print-directory

CARGO ?= cargo
# One compiler per two gigabytes of memory: with 4 GB it is two, and the largest crates still fit.
export CARGO_BUILD_JOBS ?= $(shell awk -v cores="$$(nproc 2>/dev/null || echo 2)" \
	'/^MemTotal/ {jobs = int($$2 / 1900000)} END {if (jobs < 1) jobs = 1; print (jobs < cores ? jobs : cores)}' /proc/meminfo 2>/dev/null || echo 2)
export CARGO_TERM_COLOR ?= auto
export CARGO_NET_RETRY ?= 5

setup := tests/parts/setup.sh
python := tests/parts/python.sh

.PHONY: help demo test test-all torture noninterference bench bench-commits check fmt lint doc deny setup clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## The clinic chain in one process: builds, then runs until Ctrl-C (ARGS="--once", ARGS="--help")
	@if [ -x target/debug/lakeward ]; then \
	  echo "lakeward demo: built before; takes seconds, 0.7 GB of memory."; \
	else \
	  echo "lakeward demo: the first build takes about 10 minutes on two cores, 4 GB of memory and 6 GB of disk;"; \
	  echo "               later starts take seconds. Nothing is installed but compiler packages, and those by apt where it may."; \
	fi
	$(setup) build
	$(CARGO) build --locked --bin lakeward
	exec target/debug/lakeward demo $(ARGS)

test: ## Everything that must hold: format, lints, documentation, unit tests, real Kafka and S3, licences
	@started=$$SECONDS
	if $(setup) test; then
	  real=yes
	else
	  status=$$?
	  if [ "$$status" -ne 3 ] || [ -n "$${CI:-}" ]; then
	    echo "make test: the set-up failed (see above)" >&2
	    exit 1
	  fi
	  real=no
	fi
	$(MAKE) fmt lint doc deny
	if [ "$$real" = yes ]; then export LAKEWARD_REAL_PARTS=yes; fi
	$(CARGO) test --locked --workspace
	if [ "$$real" = no ]; then
	  printf '\n%s\n%s\n%s\n\n' \
	    "!! SKIPPED: everything against a real Kafka, a real S3, Python and JDBC clients was left out," \
	    "!! because what the set-up named above as MISSING is not here. This run proves much less than" \
	    "!! a whole one; with CI=true it would have failed." >&2
	fi
	echo "make test: passed in $$((SECONDS - started)) s"

test-all: ## `make test` with ten patients, six kills at random and 5,000 cells of each column (SEED=n repeats a run)
	@export LAKEWARD_TEST_ALL=$(or $(SEED),yes)
	$(MAKE) test

torture: ## Kills ingest KILLS=200 times over ROWS=5000000 records and counts what is lost or doubled (SEED=n repeats a run)
	@$(setup) test
	$(CARGO) build --locked --workspace --bin lakeward
	$(python) -m torture --binary target/debug/lakeward --dir target/tmp/torture \
	  --kills $(or $(KILLS),200) --rows $(or $(ROWS),5000000) $(if $(SEED),--seed $(SEED))

noninterference: ## Asks STATEMENTS=100000 at random of two lakes that differ in what may not be seen; opens holes and finds them (SEED=n)
	@export STATEMENTS=$(or $(STATEMENTS),100000) $(if $(SEED),SEED=$(SEED))
	$(CARGO) test --locked --release --workspace --lib noninterference -- --include-ignored --nocapture --test-threads 1

bench: ## Side by side in one run: ingest against plain Python and Spark, governed against bare scans (benches/RESULTS.md)
	@$(setup) test
	$(setup) bench || echo "make bench: without Spark (see above); its lines will say FAILED" >&2
	$(CARGO) bench --locked --bench side_by_side -- $(ARGS)

bench-commits: ## What a commit costs after 10,000 others, and how much memory a merge takes (benches/COMMITS.md)
	$(CARGO) bench --locked --bench commits -- $(ARGS)

check: ## Type-check all targets; the quick round while writing
	$(CARGO) check --locked --workspace --all-targets

fmt: ## Check the formatting (`cargo fmt` repairs it)
	$(CARGO) fmt --all --check

lint: ## Clippy, warnings as errors
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

doc: ## Build the documentation, warnings as errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --workspace

deny: ## Licences, sources and advisories of every dependency
	@if $(CARGO) deny --version >/dev/null 2>&1; then
	  $(CARGO) deny --locked check
	elif command -v python3 >/dev/null; then
	  python3 tests/parts/licences.py
	else
	  echo "licences: could not look, for there is neither cargo-deny nor Python" >&2
	  [ -z "$${CI:-}" ]
	fi

setup: ## Only the set-up of `make test`
	@$(setup) test

clean: ## Remove what was built (the cache folder stays)
	$(CARGO) clean
	rm -rf .lakeward
