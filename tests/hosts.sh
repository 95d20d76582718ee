#!/usr/bin/env bash
# Tries the commands with several releases of Ultralytics, each installed into a folder of its own beside the rest:
#   tests/hosts.sh                    the oldest, the newest, and those around each change
#   tests/hosts.sh 8.4.100 8.4.190    these
# Prints a table; the exit status is 1 if anything failed. PYTHON= says with which interpreter, HOSTS= where they go.
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
HOSTS=${HOSTS:-${TMPDIR:-/tmp}/yolo-subbatch-hosts}
export YOLO_OFFLINE=1 YOLO_AUTOINSTALL=0 PYTHONDONTWRITEBYTECODE=1
status=0

# 8.4.13 is the oldest; 8.4.103 asks for the warm-up, 8.4.104 names losses, 8.4.120 has another _predict_once.
[ $# -gt 0 ] || set -- 8.4.13 8.4.60 8.4.102 8.4.103 8.4.104 8.4.120 8.4.150 8.4.189 8.4.190

echo "| Ultralytics | | result |"
echo "|---|---|---|"
for release in "$@"; do
    folder=$HOSTS/$release
    [ -d "$folder/ultralytics" ] ||
        "$PYTHON" -m pip install --quiet --no-deps --target "$folder" "ultralytics==$release" || { status=1; continue; }
    YOLO_CONFIG_DIR=$HOSTS PYTHONPATH=$folder "$PYTHON" -m tests.hosts 2>&1 >"$folder.log" |
        tee "$folder.errors" | grep --line-buffered "^| $release |"
    [ "${PIPESTATUS[0]}" = 0 ] || status=1
done
exit $status
