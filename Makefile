# Needs make and Python 3.10 or newer with venv and pip; everything else goes into .venv* here.
#
#   PYTHON=python3.12      the interpreter (default: python3)
#   DOCS=folder URL=url    for `make demo`: text files of your own, a database of your own
#   TESTS="..."            for `make test` and `make test-stacks`: arguments of pytest
#   COVERAGE=1             for `make test`: measure branches; below the floor in pyproject.toml the whole suite fails
#   MUTANTS="ledger -n 3"  for `make mutants`: a room, and some of its faults
#   DIST=--quick           for `make dist`: bare and with all extras only
#   MOVES="--only SqlStore"  for `make moves`: its options
#   ROUNDS=20 FAULT="..."  for `make faults`: how often each fault meets each operation; one fault only
#   BENCH="..."            for `make bench`: its options; BENCH=folder measures a folder only
#   BENCH_URL=url          for `make bench`: a PostgreSQL server of your own

PYTHON ?= python3
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
# URLs reach Python as variables as they are, so no password is echoed or stands in a list of processes.
export DOCSHELF_URL := $(value URL)
override export BENCH_URL := $(value BENCH_URL)
export DEMO_FOLDER := $(value DOCS)
# The environments are this checkout's own, whatever the caller has set or activated.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

# A stamp says that an environment is complete. Its name holds the interpreter's: another one makes it anew.
STAMP := complete-$(subst /,_,$(PYTHON))
DEMO := .venv
TEST := .venv-test
STACKS := .venv-stacks
BENCHMARK := .venv-bench
DISTRIBUTION := .venv-dist
SITE := .venv-docs
AUDIT := .venv-audit

# A part of the suite covers less than all of it, so the floor is for all of it.
MEASURED := --cov --cov-report=term $(if $(TESTS),--cov-fail-under=0)

.PHONY: help demo test test-stacks faults bench chart pictures footprint moves mutants notebooks docs audit dist matrix format hooks clean

help:
	@echo 'make demo    the main job on real text   [DOCS=folder] [URL=postgresql://...]'
	@echo 'make test    formatting, lint, types, tests   [TESTS="tests/writing -k dry_run"] [COVERAGE=1] [ALL=1]'
	@echo 'make test-stacks   the retriever on Chroma, FAISS, Qdrant, PGVector and PGVectorStore   [TESTS="-k chroma"]'
	@echo 'make faults  faults in every operation, many times; writes docs/faults.md   [ROUNDS=20] [FAULT="cut network"]'
	@echo 'make bench   beside its peers and the raw drivers   [BENCH="--documents 1000 --only asyncpg"] [BENCH_URL=postgresql://...]'
	@echo 'make chart   draw the pictures of docs/benchmark.md'
	@echo 'make pictures   take the pictures of docs/command-line.md: real output of the command'
	@echo 'make footprint   bytes on disk and of WAL, memory, growth, the cost of an import'
	@echo 'make moves   10,000 documents from each store that people come from; writes docs/moving.md   [MOVES="--only SqlStore"]'
	@echo 'make mutants  faults put into the code on purpose, which the tests have to notice   [MUTANTS="ledger -n 3"]'
	@echo 'make notebooks   run the notebooks from top to bottom and store what they show'
	@echo 'make docs    build the site into build/site and check its links'
	@echo 'make audit   look up known vulnerabilities of all dependencies; needs the network'
	@echo 'make dist    build wheel and sdist, check them, use the wheel bare and with each extra   [DIST=--quick]'
	@echo 'make matrix  the wheel with the oldest and newest versions on each Python there is, types too'
	@echo 'make format  format the code and mend what ruff can'
	@echo 'make hooks   have git run ruff and mypy before each commit'
	@echo 'make clean   remove environments, caches and builds'
	@echo 'Each takes PYTHON=python3.12 for another interpreter.'

demo: $(DEMO)/$(STAMP)
	@$(DEMO)/bin/python examples/demo.py $${DEMO_FOLDER:+"$$DEMO_FOLDER"}

test: $(TEST)/$(STAMP)
	@$(TEST)/bin/python -m ruff format --check . || { echo "make test: 'make format' formats these files" >&2; exit 1; }
	@$(TEST)/bin/python -m ruff check . || { echo "make test: ruff found the above" >&2; exit 1; }
	@$(TEST)/bin/python -m mypy || { echo "make test: mypy found the above" >&2; exit 1; }
	@$(if $(ALL),DOCSHELF_TEST_ALL=1) $(TEST)/bin/python -m pytest -n auto --maxprocesses 4 $(if $(COVERAGE),$(MEASURED)) $(TESTS)

test-stacks: $(STACKS)/$(STAMP)
	@$(STACKS)/bin/python -m pytest -n auto --maxprocesses 4 tests/stacks $(TESTS)

faults: $(TEST)/$(STAMP)
	@$(TEST)/bin/python -m tools.faults --rounds $(or $(ROUNDS),20) $(if $(FAULT),--only "$(FAULT)",--write)

bench: $(BENCHMARK)/$(STAMP)
	@$(BENCHMARK)/bin/python -m benchmarks $(BENCH)
	@$(if $(BENCH),,$(BENCHMARK)/bin/python -m benchmarks folder)

chart: $(TEST)/$(STAMP)
	@$(TEST)/bin/python -m benchmarks.chart

pictures: $(TEST)/$(STAMP)
	@$(TEST)/bin/python docs/terminal.py

footprint: $(BENCHMARK)/$(STAMP)
	@$(BENCHMARK)/bin/python -m benchmarks.footprint

moves: $(STACKS)/$(STAMP)
	@$(STACKS)/bin/python -m benchmarks.moves $(or $(MOVES),--write)

mutants: $(TEST)/$(STAMP)
	@$(TEST)/bin/python -m tools.mutants $(MUTANTS)

notebooks: $(TEST)/$(STAMP)
	@$(TEST)/bin/python notebooks/refresh.py

docs: $(SITE)/$(STAMP)
	@rm -rf build/site
	@$(SITE)/bin/python -m sphinx -j auto -q -W --keep-going -d build/site/.doctrees docs build/site
	@$(SITE)/bin/python tools/check_site.py build/site

audit: $(AUDIT)/$(STAMP)
	@$(AUDIT)/bin/python tools/audit.py

dist: $(DISTRIBUTION)/$(STAMP)
	@$(DISTRIBUTION)/bin/python tools/dist.py $(DIST)

matrix: $(DISTRIBUTION)/$(STAMP)
	@$(DISTRIBUTION)/bin/python tools/dist.py --matrix

format: $(TEST)/$(STAMP)
	@$(TEST)/bin/python -m ruff format .
	@$(TEST)/bin/python -m ruff check --fix .

hooks: $(TEST)/$(STAMP)
	@$(TEST)/bin/python -m pre_commit install

clean:
	rm -rf .venv .venv-test .venv-stacks .venv-bench .venv-dist .venv-docs .venv-audit .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# $(call environment,what to install): a virtual environment from scratch, as old pieces may not fit together.
define environment
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "docshelf needs Python 3.10 or newer, and \
	$(PYTHON) is %d.%d; name another: make $(MAKECMDGOALS) PYTHON=python3.12" % sys.version_info[:2])'
	@echo 'Installing into $(@D) with $(PYTHON), once ...'
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	@# Python compiles what is imported, which is a part of it: installing takes half the time.
	@$(@D)/bin/python -m pip install --quiet --no-compile $(1)
	@touch $@
endef

$(DEMO)/$(STAMP): pyproject.toml
	$(call environment,--editable .)

$(TEST)/$(STAMP): pyproject.toml
	$(call environment,--editable . --group dev)

$(STACKS)/$(STAMP): pyproject.toml
	$(call environment,--editable . --group stacks)

$(BENCHMARK)/$(STAMP): pyproject.toml
	$(call environment,--editable . --group bench)

$(DISTRIBUTION)/$(STAMP): pyproject.toml
	$(call environment,--group dist)

$(SITE)/$(STAMP): pyproject.toml
	$(call environment,--editable . --group docs)

$(AUDIT)/$(STAMP): pyproject.toml
	$(call environment,--editable '.[all]' --group audit)
