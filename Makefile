PYTHON ?= python3
BIN := .venv/bin
ARGS ?= experiment=ablation model=skip

.PHONY: run test check bench docs site mutants

run: .venv/installed  ## the main job, or any other: make run ARGS="experiment=train dataset=mod_add"
	$(BIN)/mi-run $(ARGS)

# Processes of the tests keep compiled modules for each other, also where the environment forbids it.
test: export PYTHONDONTWRITEBYTECODE =
test: .venv/installed-for-tests  ## make test ARGS="tests/graph/test_model_graph.py -x"
	$(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder --durations 10 $(if $(filter file,$(origin ARGS)),,$(ARGS))

check: .venv/installed-for-tests  ## style, types, and which module may import which
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/installed-for-tests  ## ratios, each measured in one run
	$(BIN)/python -m benchmarks

mutants: .venv/installed-for-mutants  ## do the tests notice small faults? make mutants ARGS="--number 20 --seed 1"
	$(BIN)/python -m mutants $(if $(filter file,$(origin ARGS)),,$(ARGS))

docs: .venv/installed  ## writes the lists of pages, draws the pictures of docs/ from fresh runs
	$(BIN)/python docs/lists.py
	$(BIN)/python docs/draw.py

site: .venv/installed-for-site  ## the pages as a site with search, in the folder site; make site ARGS="dataset.limit=100"
	$(BIN)/python docs/build_site.py site $(if $(filter file,$(origin ARGS)),,$(ARGS))

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch torchvision
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/installed-for-tests: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,site]'
	touch $@

.venv/installed-for-site: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[site]'
	touch $@

.venv/installed-for-mutants: .venv/installed-for-tests
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,mutants]'
	touch $@
