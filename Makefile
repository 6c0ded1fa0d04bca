# `make demo` runs the whole pipeline on phantoms; `make test` checks everything. Both set up what they need.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
export NO_ALBUMENTATIONS_UPDATE = 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: setup demo test lint docs weights gpu clean

# torch first and by its exact version, so that nothing pulls another build in.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt "torch==$$(sed -n 's/^torch==//p' constraints.txt)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

setup: $(VENV)/.installed

demo: setup
	$(BIN)/segkit pipeline run synthetic-aug --config configs/demo.yaml --runs runs/demo

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# One thread a worker: two workers share two cores without fighting.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist worksteal

# The site of the pages in docs/, in build/site.
docs: setup
	$(BIN)/mkdocs build --config-file docs/site/mkdocs.yml

# Train a shipped model and put it, with its card, into the package: `make weights DRIVE=/data/DRIVE MODEL=vessels-fast`.
# The second command gives its threshold, temperature and scores: a cross-validation, of `vessels` with a third of the steps.
MODEL ?= vessels
FOLDS_vessels := --set model.phases.0.epochs=100 --set model.phases.0.val_interval_epochs=100
CONFIG_vessels := drive-best
CONFIG_vessels-fast := drive-fast
weights: setup
	$(BIN)/segkit pipeline run train -c $(CONFIG_$(MODEL)) --data drive:$(DRIVE) --runs runs/weights/$(MODEL)
	$(BIN)/segkit pipeline run cross-validate -c $(CONFIG_$(MODEL)) --data drive:$(DRIVE) --runs runs/folds/$(MODEL) \
	  $(FOLDS_$(MODEL))
	rm -rf segkit/weights/$(MODEL)
	$(BIN)/segkit export --weights runs/weights/$(MODEL)/model-* --out-of-fold runs/folds/$(MODEL)/evaluate-* \
	  --tta d4 --out segkit/weights/$(MODEL) --notes "$$(cat segkit/weights/$(MODEL).txt)"

# Figures and pictures of one CUDA device into GPU_OUT. Nothing is installed: where there is no .venv, python3 runs it.
# `make gpu DRIVE=/data/DRIVE MINUTES=8`; STEPS="tests gan" runs some of the steps.
GPU_PYTHON ?= $(if $(wildcard $(BIN)/python),$(BIN)/python,python3)
GPU_OUT ?= runs/gpu
MINUTES ?= 8
gpu:
	$(GPU_PYTHON) -m segkit bench gpu --out $(GPU_OUT) --minutes $(MINUTES) \
	  $(if $(DRIVE),--drive $(DRIVE)) $(addprefix --only ,$(STEPS))

clean:
	rm -rf runs build .mypy_cache .ruff_cache .pytest_cache
