# meshnet: every verb makes what it needs (a virtual environment from requirements/lock.txt; Debian packages where a
# lab of network namespaces runs, each named as it is installed) and does nothing twice.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON := .venv/bin/python
ARGS ?=

.PHONY: help venv tools root demo lab lab-down check test test-unit test-property test-sim test-pythons test-lab \
	test-docker test-slow soak bench lock wheel clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: ## .venv with the newest Python of 3.11-3.13 and exactly the locked packages
	@requirements/venv.sh .venv

root:
	@if [ "$$(id -u)" != 0 ]; then \
		echo "meshnet: this verb must run as root." >&2; \
		echo "  why: it makes network namespaces, bridges and TAP devices." >&2; \
		echo "  fix: sudo make $(firstword $(MAKECMDGOALS))" >&2; \
		exit 1; \
	fi

# The lab's system packages, where they can be installed: without root the tests that need them are skipped aloud.
tools:
	@if [ "$$(id -u)" = 0 ]; then requirements/debian.sh; fi

demo: root venv tools ## three hosts in namespaces, one encrypted segment: watch it work (root, about a minute)
	@$(PYTHON) -m tests.lab.demo $(ARGS)

lab: root venv tools ## the demo's three hosts, kept to play with until Ctrl-C (root)
	@$(PYTHON) -m tests.lab up $(ARGS)

lab-down: root venv ## end what `make lab` started
	@$(PYTHON) -m tests.lab down $(ARGS)

check: venv ## lint, format, types, architecture, documents (< 2 min)
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy --strict
	@$(PYTHON) -m pytest -q tests/test_architecture.py tests/test_docs.py

test: venv tools ## every fast test: unit, property, simulation, other Pythons, lab, docker (< 20 min)
	@tests/tiers.sh unit property sim pythons lab docker

test-unit: venv tools ## unit tests alone
	@tests/tiers.sh unit

test-property: venv ## property tests and planted faults alone
	@tests/tiers.sh property

test-sim: venv ## simulated meshes alone
	@tests/tiers.sh sim

test-pythons: venv ## unit tests on the other supported Pythons found here
	@tests/tiers.sh pythons

test-lab: venv tools ## real daemons in namespaces alone (root)
	@tests/tiers.sh lab

test-docker: venv tools ## against a real Docker engine alone (root; DOCKER=install may install one)
	@tests/tiers.sh docker

test-slow: venv tools ## tests that take over 30 seconds
	@tests/tiers.sh slow

soak: venv ## random seeds until one fails or you stop it
	@tests/soak.sh

bench: root venv tools ## meshnet, kernel VXLAN and no overlay side by side in one run (root; ARGS="--prototype PATH")
	@$(PYTHON) -m bench throughput $(ARGS)

lock: venv ## write requirements/lock.txt anew from pyproject.toml (needs Python 3.11, 3.12 and 3.13)
	@$(PYTHON) requirements/lock.py $$(requirements/pythons.sh all | sort -V | cut -d' ' -f2)

wheel: venv ## build the wheel into dist/
	@$(PYTHON) -m hatchling build -t wheel

clean: ## remove everything these verbs made in the checkout
	@rm -rf .venv .venv-3.* .pytest_cache .mypy_cache .ruff_cache .hypothesis artefacts build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
