# What to run here. The targets install whatever they need themselves, as far as
# they are allowed to (scripts/setup.sh); a second run installs nothing.
#
#   make test PYTESTARGS="-k client -x"
#   make test PYTESTARGS="-n 0 --pdb"
#   make bench BENCHARGS="--only do-16"
#   make demo PYTHON=python3.13        the Python to make .venv of, the first time

PY := .venv/bin/python
PYTESTARGS ?=
# Most tests wait for something: one process for each core, up to four.
PARALLEL := --numprocesses auto --maxprocesses 4 --dist loadfile
BENCHARGS ?=
FUZZ_SECONDS ?= 600
FUZZARGS ?=
SOAK_JOBS ?= 1000000
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help demo test check lint types bench fuzz fuzz-servers soak valgrind
.PHONY: test-libgearman
.PHONY: dist clean distclean setup-demo setup-dev setup-test setup-bench setup-valgrind

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

demo: setup-demo ## run example clients and workers on a gearmand of their own
	$(PY) examples/demo.py

test: setup-test ## run the test suite (PYTESTARGS goes to pytest)
	$(PY) -m pytest $(PARALLEL) $(PYTESTARGS)

check: lint types ## lint, types, and no drift between cdef/ and the generated module
	$(PY) build_ffi.py --check

lint: setup-dev ## ruff: format and rules
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .

types: setup-dev ## mypy --strict
	$(PY) -m mypy

bench: setup-bench ## measure against C and other bindings (an hour; BENCHARGS="--quick")
	$(PY) -m tests.benchmarks.run $(BENCHARGS)

fuzz: setup-test ## random sequences of calls; the process's end (FUZZ_SECONDS=600)
	$(PY) -m tests.fuzz.run --seconds $(FUZZ_SECONDS) $(FUZZARGS)
	PYGEARMAN_EXITS=20 $(PY) -m pytest tests/test_exit.py

fuzz-servers: setup-test ## random bytes from servers, to clients and workers
	$(PY) -m tests.fuzz_servers --connections 100000

soak: setup-test ## a million jobs, and jobs under servers that are killed (SOAK_JOBS=)
	$(PY) -m tests.soak --jobs $(SOAK_JOBS)
	$(PY) -m tests.lossless --jobs 10000 --clients 4 --workers 4 --kills 5

valgrind: setup-valgrind ## memcheck over every call of the public API
	$(PY) -m tests.valgrind.run

test-libgearman: setup-test ## the suite on the libgearman of other Debian releases
	$(PY) -m tests.libgearmans -- $(PARALLEL) $(PYTESTARGS)

dist: setup-dev ## build the sdist and the wheel into dist/
	$(PY) -m build

clean: ## remove what builds and tests leave behind
	rm -rf build dist htmlcov .coverage .coverage.* .hypothesis
	rm -rf .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

distclean: clean ## and the virtual environments
	rm -rf .venv .venv-bench

setup-demo setup-dev setup-test setup-bench setup-valgrind:
	@sh scripts/setup.sh $(@:setup-%=%)
