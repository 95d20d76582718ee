#!/usr/bin/env bash
# Tries the bounds of pyproject.toml: an environment of the oldest versions that it allows, or of the newest, in which
# everything of tests/hosts.py is done, and the window's and the export's tests.
#   UV=/tmp/uv/bin/uv tests/bounds.sh lowest-direct [PYTHON]    about 3 GB, most of it CUDA
#   UV=/tmp/uv/bin/uv tests/bounds.sh highest 3.13
# BOUNDS= says where the environments go. Nothing is left in the working tree.
set -euo pipefail
cd "$(dirname "$0")/.."
UV=${UV:-uv}
WHICH=${1:-lowest-direct}
PYTHON=${2:-3.11}
PLACE=${BOUNDS:-${TMPDIR:-/tmp}/yolo-subbatch-bounds}/$WHICH-$PYTHON
export YOLO_OFFLINE=1 YOLO_AUTOINSTALL=0 YOLO_CONFIG_DIR=$PLACE/config PYTHONDONTWRITEBYTECODE=1 QT_QPA_PLATFORM=offscreen

mkdir -p "$PLACE/config"
"$UV" venv --quiet --clear --python "$PYTHON" "$PLACE/venv"
"$UV" pip compile pyproject.toml --extra gui --extra export --resolution "$WHICH" --only-binary :all: --quiet \
    --python-version "$PYTHON" --no-header --no-annotate >"$PLACE/versions.txt"
"$UV" pip install --quiet --python "$PLACE/venv/bin/python" -r "$PLACE/versions.txt" pytest pytest-qt hypothesis
"$UV" pip install --quiet --python "$PLACE/venv/bin/python" --no-deps --editable .

grep -E '^(torch|torchvision|ultralytics|numpy|opencv-python|pyyaml|cloudpickle|psutil|onnx|onnxruntime.*|pyside6.*|pyqtgraph)==' \
    "$PLACE/versions.txt"
"$PLACE/venv/bin/python" -m tests.hosts >"$PLACE/log"
"$PLACE/venv/bin/python" -m pytest -q tests/export/test_onnx.py tests/export/test_infer.py tests/gui
