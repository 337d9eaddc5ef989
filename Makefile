# make demo | make test: the two commands of the README. Both set up .venv first if that is not done yet.
#   make PYTHON=/usr/bin/python3.12 ...   choose the interpreter
#   make ARGS='-m slow' test              more arguments for pytest
#   make WORKERS=0 test                   tests in one process (default: a worker for each core, four at most)
#   make ARGS='--amp' demo                more arguments for tools/train.py
SHELL := /bin/bash
VENV ?= .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.mmfusion-installed
WORK_DIR ?= work_dirs/moe_fusion_demo
ARGS ?=
WORKERS ?= logical
# torch's OpenMP threads must sleep while they wait, or they slow each other down on a busy machine
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help setup demo test gpu-check lint doctest docs build clean

help:
	@echo 'make demo     train MoE-Fusion with a detector on built-in data, print mAP and write fused images'
	@echo 'make test     run the tests'
	@echo 'make gpu-check   on a machine with a GPU: tests, comparisons with the CPU and timings, in pieces (ARGS=NAME for one)'
	@echo 'make lint | doctest | docs | build | clean'

setup: $(STAMP)

$(STAMP): $(wildcard requirements/*.txt) requirements/install.sh setup.py pyproject.toml
	VENV='$(VENV)' bash requirements/install.sh
	@touch $@

demo: $(STAMP)
	$(PY) tools/train.py configs/moe_fusion_demo.py --work-dir $(WORK_DIR) $(ARGS)

test: $(STAMP)
	$(PY) -m pytest -n $(WORKERS) --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

gpu-check: $(STAMP)
	$(PY) benchmarks/gpu.py $(ARGS)

lint: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

doctest: $(STAMP)
	$(PY) -m pytest --doctest-modules mmfusion

docs: $(STAMP)
	$(PY) -m sphinx -W --keep-going -q -b html docs/en docs/en/_build/html
	@echo 'documentation: docs/en/_build/html/index.html'

build: $(STAMP)
	rm -rf build dist
	$(PY) -m build --no-isolation
	@$(PY) -c 'import setup; setup.add_mim_files()'  # links again in place of the copies, so that configs stay current
	@ls -l dist

clean:
	rm -rf build dist mmfusion/.mim *.egg-info docs/en/_build .pytest_cache .ruff_cache
	find mmfusion tools tests configs -name __pycache__ -type d -prune -exec rm -rf {} +
