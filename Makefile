# make demo, make test and make lint each prepare what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
OPENCV4 := $(VENV)/opencv4/cv2

QT_LIBRARIES := libegl1 libgl1 libfontconfig1 libfreetype6 libxkbcommon0 libglib2.0-0 libdbus-1-3

.PHONY: demo test lint slow translations docs darknet clean

demo: $(READY)
	$(BIN)/yolo-subbatch demo

test: $(READY) $(OPENCV4) darknet
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --durations=10

slow: $(READY) $(OPENCV4) darknet
	$(BIN)/python -m pytest -q -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet yolo_subbatch cfg export gui tests
	$(BIN)/mypy

# Collects the window's texts; what is not translated yet stands in gui/i18n/zh_CN.ts as unfinished.
translations: $(READY)
	$(BIN)/python gui/i18n/update_translations.py

# The tables of keys in the guide, from the dataclasses of the sections.
docs: $(READY)
	$(BIN)/python -m yolo_subbatch.darknet.key_table docs/from-darknet.md

# An editable install fixes the list of packages when it is made, so it follows pyproject.toml.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "Python 3.10 or newer is needed; give it with PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || $(call system,python3-venv)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@$(BIN)/python -c 'import cv2' 2>/dev/null || $(call system,libgl1 libglib2.0-0)
	@$(BIN)/python -c 'import cv2' || { echo "OpenCV cannot be loaded: install libgl1 and libglib2.0-0"; exit 1; }
	@$(BIN)/python -c 'import PySide6.QtGui' 2>/dev/null || $(call system,$(QT_LIBRARIES))
	@$(BIN)/python -c 'import PySide6.QtGui' || { echo "Qt cannot be loaded: install $(QT_LIBRARIES)"; exit 1; }
	touch $(READY)

# The last OpenCV that reads Darknet's files, beside the newer one: tests open with it what is written here.
$(OPENCV4): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
		--target $(VENV)/opencv4 'opencv-python-headless==4.10.*'
	touch $(OPENCV4)

# pjreddie's Darknet as Debian and Ubuntu build it: tests give it what is written here. Elsewhere they are left out.
darknet:
	@command -v darknet >/dev/null || { command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends darknet >/dev/null; } || \
		echo "Darknet is not installed, its tests are left out; Debian and Ubuntu have the package darknet"

# Install system packages where that is allowed, else say in one line what is missing.
define system
{ command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq $(1); } || \
	{ echo "missing system packages: $(1)"; exit 1; }
endef

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache
