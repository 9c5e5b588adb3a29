# Two commands matter: `make demo` and `make test`. Both build .venv from the lock first if it is missing or stale.
VENV := .venv
LOCK := requirements-py310.lock
STAMP := $(VENV)/.installed
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint format lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(STAMP) ## the whole pipeline on 1,797 real handwritten digits, to a served decoder
	@$(VENV)/bin/tfx-vae run --recipe digits

test: lint ## style, then every test that is not marked slow
	@$(VENV)/bin/python -m pytest -m "not slow" $(PYTEST_ARGS)

test-slow: $(STAMP) ## the slow tests: real MNIST end to end
	@$(VENV)/bin/python -m pytest -m slow $(PYTEST_ARGS)

lint: $(STAMP) ## ruff, without changing a file
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .

format: $(STAMP) ## ruff, mending what it can
	@$(VENV)/bin/ruff check --fix . && $(VENV)/bin/ruff format .

lock: ## resolve setup.py again, keeping locked versions that still fit (needs uv)
	uv pip compile setup.py --extra dev --extra kubeflow --python-version 3.10 \
	  --generate-hashes --no-header --no-annotate -o $(LOCK)

clean: ## remove the environment and everything the demo wrote
	rm -rf $(VENV) runs *.egg-info

# pip before 25 refuses hashes for dependencies with extras, so dependencies come from the lock alone.
# The build tools come first, so that what is compiled is compiled with the locked ones.
$(STAMP): $(LOCK) setup.py
	@set -euo pipefail; \
	python=""; \
	for candidate in python3.10 python3 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.10.*/bin/python3.10; do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 10))' >/dev/null 2>&1; then \
	    python="$$candidate"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "error: Python 3.10 was not found (TFX 1.16 runs on no newer one). Install it, then run make again:"; \
	  echo "  Ubuntu 22.04:  sudo apt-get install python3.10 python3.10-venv python3.10-dev g++"; \
	  echo "  elsewhere:     install pyenv, then: pyenv install 3.10"; \
	  exit 1; fi >&2; \
	if ! "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	  echo "error: $$python has no venv module. Install it: sudo apt-get install python3.10-venv" >&2; exit 1; fi; \
	if ! "$$python" -c 'import os, sysconfig, sys; sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' \
	  || ! command -v g++ >/dev/null; then \
	  echo "error: two dependencies are compiled on installation and need g++ and Python's headers." >&2; \
	  echo "  Install them: sudo apt-get install g++ python3.10-dev" >&2; exit 1; fi; \
	echo "Building $(VENV) from $(LOCK) with $$("$$python" --version) (2 to 4 minutes, once) ..."; \
	rm -rf $(VENV); "$$python" -m venv $(VENV); \
	install="$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation"; \
	awk '/^[a-z]/ { wanted = /^(setuptools|wheel)==/ } wanted' $(LOCK) \
	  | $$install --require-hashes -r /dev/stdin; \
	$$install --require-hashes -r $(LOCK); \
	$$install --editable .; \
	touch $(STAMP)
