#!/usr/bin/env bash
# What `pip install yolo-subbatch[gui,export]` would install on other machines: wheels only, nothing is downloaded but
# their metadata. uv does it, since pip reads the markers of the machine that it runs on, whatever --platform says.
#   python3 -m venv /tmp/uv && /tmp/uv/bin/pip install uv && UV=/tmp/uv/bin/uv tests/platforms.sh [EXTRAS]
# Prints a table; the exit status is 1 if one of them has no solution.
set -uo pipefail
cd "$(dirname "$0")/.."
UV=${UV:-uv}
EXTRAS=${1:-gui,export}
PACKAGES="ultralytics torch torchvision numpy opencv-python onnx onnxruntime onnxruntime-gpu pyside6-essentials pyqtgraph"
status=0

echo "| platform | Python | ${PACKAGES// / | } |"
echo "|---|---$(for _ in $PACKAGES; do printf '|---'; done)|"
for platform in x86_64-pc-windows-msvc aarch64-apple-darwin aarch64-manylinux_2_28 aarch64-manylinux_2_39 \
    x86_64-manylinux_2_28; do
    for python in 3.10 3.13 3.14; do
        if found=$("$UV" pip compile pyproject.toml $(printf -- '--extra %s ' ${EXTRAS//,/ }) --quiet --no-header \
            --no-annotate --only-binary :all: --python-platform "$platform" --python-version "$python" 2>&1); then
            row=""
            for package in $PACKAGES; do
                row+=" $(sed -n "s/^$package==\([^ ]*\).*/\1/p" <<<"$found") |"
            done
            echo "| $platform | $python |$row"
        else
            status=1
            echo "| $platform | $python | no solution: $(grep -m1 -o 'Because.*' <<<"$found") |"
        fi
    done
done
exit $status
