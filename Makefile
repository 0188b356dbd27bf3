# Everything runs in .venv, which deploy/bootstrap.py makes from deploy/cpu.lock on first use.
PYTHON ?= $(or $(firstword $(foreach name,python3.11 python3.12 python3,$(shell command -v $(name) 2>/dev/null))),$(error \
	There is no python3 on the PATH. Install Python 3.11 with its venv module, or name one: make serve PYTHON=/path/to/python3.11))
BIN := .venv/bin
INSTALL = @$(PYTHON) deploy/bootstrap.py --only-install

.DEFAULT_GOAL := help
.PHONY: help serve test check lint evidence lock settings

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: ## Install what is missing, then start the model and the gateway
	@$(PYTHON) deploy/bootstrap.py && exec $(BIN)/unremember up

check: lint ## Lint, types and unit tests but for the long ones; no model, about a minute
	$(BIN)/pytest tests/unit --numprocesses $$(($$(nproc) + 1)) --dist worksteal --hypothesis-profile quick -m "not thorough"

test: lint ## Everything once, with the real model; under half an hour
	$(BIN)/pytest tests/unit tests/integration --numprocesses auto --dist loadfile
	$(BIN)/pytest tests/e2e

lint: ## Lint and types
	$(INSTALL)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile

evidence: ## The full measurements, into docs/evidence/; hours
	$(INSTALL)
	deploy/evidence

lock: ## Resolve deploy/cpu.lock anew (needs uv)
	deploy/lock

settings: ## Write docs/settings.md from the settings' descriptions
	$(INSTALL)
	$(BIN)/python -m server.cli.reference > docs/settings.md
