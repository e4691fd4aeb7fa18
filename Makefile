# hermes-backup: `make help` lists what there is to make.
# Everything is installed into .venv, once: a stamp says that it was done for this pyproject.toml.

.DEFAULT_GOAL := help
SHELL := /bin/sh
BIN := .venv/bin
# "anew" unless .venv works and was made where this Makefile lies
STALE := $(shell [ -x $(BIN)/python ] && [ "$$(cat .venv/.at 2>/dev/null)" = "$$(pwd)" ] || echo anew)

.PHONY: help run test coverage lint unit docs docs-check molecule bench bench-docs bench-fleet bench-quick wheel-check clean anew

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do \
	    printf '  make %-12s %s\n' "$$name" "$$text"; done

run: .venv/.stamp-run ## Back up a sample Hermes home, on any machine with python3: the inventory `demo`
	@$(BIN)/hermes-backup run demo

test: .venv/.stamp-test ## Everything that CI demands of the code: lint, docs-check, all tests
	@tools/check lint docs tests

coverage: .venv/.stamp-test ## All tests, and which lines they reach
	@tools/check coverage

lint: .venv/.stamp-test ## ruff, mypy --strict, import-linter, ansible-lint, shellcheck
	@tools/check lint

unit: .venv/.stamp-test ## The tests that need no server and no other program's environment
	@tools/check unit

docs: .venv/.stamp-test ## Write the generated parts of docs/
	@$(BIN)/python tools/reference.py

docs-check: .venv/.stamp-test ## Is docs/ what the code says?
	@tools/check docs

molecule: .venv/.stamp-test ## Scenarios on real systemd hosts over SSH, in containers (root, podman)
	@tools/scenarios $(MINUTES)

bench: .venv/.stamp-bench ## Measure beside restic, borg, duplicity, hermes backup and pipes: 1 GB, memory at 4 GB (2 hours, 32 GB of disk)
	@$(BIN)/python -m bench --large 4096 --json .cache/bench/results.json

bench-quick: .venv/.stamp-bench ## The same with 150 MB and fewer runs, without what is measured alone (3 to 4 minutes)
	@$(BIN)/python -m bench --size 150 --runs 1 --days 1 --short

bench-docs: bench ## Measure, and write the figures and plots of docs/performance.md and README.md
	@$(BIN)/python -m bench.page .cache/bench/results.json

bench-fleet: .venv/.stamp-test ## Measure run over 4, 16 and 64 simulated hosts against a loop of ssh (root)
	@$(BIN)/python -m bench.fleet

wheel-check: .venv/.stamp-run ## Build the wheel, install it elsewhere, and back up the sample home with it
	@tools/wheel-check

clean: ## Remove what was made here: .venv, caches, the benchmark's homes, test hosts
	@[ ! -d .cache/hosts ] || tools/hosts clean
	rm -rf .venv .cache build dist .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis \
	    .import_linter_cache .ansible
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

.venv/.stamp-run: pyproject.toml tools/environment $(STALE)
	@tools/environment run

.venv/.stamp-test: pyproject.toml tools/environment $(STALE)
	@tools/environment test

.venv/.stamp-bench: pyproject.toml tools/environment $(STALE)
	@tools/environment bench

anew:
