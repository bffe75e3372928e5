# make demo   watch a pre-trained GPT-1 generate, be fine-tuned on jokes, and tell them
# make test   run all tests
# Both create .venv and install into it what they need, once.

PYTHON ?= python3
VENV ?= .venv
# For example PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu": PyTorch without CUDA.
PIP_FLAGS ?=

BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt

.PHONY: demo test slow lint docs notebook dist bench bench-gpu constraints clean

demo: $(VENV)/.user
	$(BIN)/gpt1 demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n logical --maxprocesses 8 --dist loadfile

slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.dev
	$(BIN)/mkdocs build --strict

# Run the notebook and save its outputs in it.
notebook: $(VENV)/.dev
	folder=$$(mktemp -d) && cp docs/tutorial.ipynb $$folder && \
	    $(BIN)/jupyter nbconvert --to notebook --execute --inplace $$folder/tutorial.ipynb && \
	    cp $$folder/tutorial.ipynb docs/ && rm -r $$folder

dist: $(VENV)/.dev
	$(BIN)/python -m build --outdir dist .

# Peers that are not installed are reported as such; to bring them: .venv/bin/pip install -e ".[bench]"
bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks --markdown

bench-gpu: $(VENV)/.dev
	$(BIN)/python -m benchmarks gpu

clean:
	rm -rf $(VENV) dist build site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.user: $(VENV)/bin/python pyproject.toml constraints.txt $(wildcard csrc/*)
	@echo "installing gpt1 and PyTorch into $(VENV) ..."
	$(INSTALL) -e ".[plot]"
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt $(wildcard csrc/*)
	@echo "installing gpt1, PyTorch and the tools of its tests into $(VENV) ..."
	$(INSTALL) -e ".[dev]"
	@touch $@ $(VENV)/.user

# Renew the pinned versions, for all supported Pythons; of PyTorch's own dependencies, those of the CPU build.
constraints: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet uv
	echo "# Versions the two README commands install; renewed by: make constraints" > constraints.txt
	echo "torch==2.13.0" >> constraints.txt
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.10 --quiet \
	    --no-annotate --no-header --no-emit-package torch | grep -v "^nvidia\|^cuda\|^triton" >> constraints.txt
