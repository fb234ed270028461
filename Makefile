# What to run here. The targets install whatever they need themselves, as far as
# they are allowed to (scripts/setup.sh); a second run installs nothing.
#
#   make test PYTESTARGS="-k client -x"
#   make demo PYTHON=python3.13        the Python to make .venv of, the first time

PY := .venv/bin/python
PYTESTARGS ?=
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help demo test check lint types dist clean distclean setup-demo setup-dev setup-test

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

demo: setup-demo ## run example clients and workers on a gearmand of their own
	$(PY) examples/demo.py

test: setup-test ## run the test suite (PYTESTARGS goes to pytest)
	$(PY) -m pytest $(PYTESTARGS)

check: lint types ## lint, types, and no drift between cdef/ and the generated module
	$(PY) build_ffi.py --check

lint: setup-dev ## ruff: format and rules
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .

types: setup-dev ## mypy --strict
	$(PY) -m mypy

dist: setup-dev ## build the sdist and the wheel into dist/
	$(PY) -m build

clean: ## remove what builds and tests leave behind
	rm -rf build dist htmlcov .coverage .coverage.* .hypothesis
	rm -rf .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean ## and the virtual environment
	rm -rf .venv

setup-demo setup-dev setup-test:
	@sh scripts/setup.sh $(@:setup-%=%)
