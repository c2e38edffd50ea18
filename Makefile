# The two commands that matter: `make demo` and `make test`. Both set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-quick test-gpu coverage wheel-test lowest-test lint types site notebook clean

demo: $(READY)
	$(BIN)/coun demo --out out/demo

test: $(READY)
	$(BIN)/python -m pytest -n auto

# Without the tests that take more than about three seconds each.
test-quick: $(READY)
	$(BIN)/python -m pytest -n auto -m "not slow"

# What must hold on a GPU too; the other tests run on the CPU, also where there is a GPU.
test-gpu: $(READY)
	COUN_TEST_DEVICE=cuda $(BIN)/python -m pytest tests/engine/test_on_a_gpu.py

coverage: $(READY)
	$(BIN)/python -m pytest -n auto --cov=coun --cov-report=term:skip-covered --cov-fail-under=95

# The wheel as a user gets it: in an environment of its own, without any package for development.
wheel-test: $(READY)
	rm -rf dist out/build out/wheel
	$(PYTHON) -m venv out/build
	out/build/bin/python -m pip install --quiet build twine
	out/build/bin/python -m build --outdir dist .
	out/build/bin/python -m twine check --strict dist/*
	$(PYTHON) -m venv out/wheel
	out/wheel/bin/python -m pip install --quiet --constraint constraints.txt dist/*.whl
	cd out/wheel && bin/coun --version && bin/coun demo --fast --out demo && bin/coun verify demo/mistake/registry/certificates/1 --registry demo/mistake/registry

# The oldest versions that pyproject.toml allows, with the oldest Python. Torch is the pinned one: an older
# torch is a download of gigabytes. Its dependencies come with uv, which leaves installed versions as they are.
lowest-test: $(READY)
	rm -rf out/lowest
	$(PYTHON) -m venv out/lowest
	out/lowest/bin/python -m pip install --quiet --constraint constraints.txt uv
	out/lowest/bin/python -m pip install --quiet --constraint constraints.txt --no-deps torch
	out/lowest/bin/python -c "from importlib.metadata import version; print('torch==' + version('torch'))" > out/lowest/torch.txt
	out/lowest/bin/uv pip install --quiet --python out/lowest/bin/python --resolution lowest-direct --constraint out/lowest/torch.txt --editable . "pytest>=8" "hypothesis>=6.100"
	out/lowest/bin/python -m pytest -q tests/audit tests/data tests/metrics tests/report tests/runs

lint: $(READY)
	$(BIN)/ruff format --check src tests benchmarks examples website
	$(BIN)/ruff check src tests benchmarks examples website

types: $(READY)
	$(BIN)/mypy

# Pages that would load something from a network, and every warning, are errors.
site: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

notebook: $(VENV)/.docs
	$(BIN)/python website/notebook.py

# constraints.txt pins every version; a range would let pip pick a newer, far larger torch.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'coun needs Python 3.11 or newer; try make PYTHON=python3.11')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

$(VENV)/.docs: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) out build dist .pytest_cache .mypy_cache .ruff_cache
