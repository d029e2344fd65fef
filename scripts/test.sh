#!/usr/bin/env bash
# Check style, types and behaviour, with a process of pytest for each core (some 2 GiB each); arguments go to pytest:
#   bash scripts/test.sh -m "not slow" -k freeze -n 0
set -euo pipefail
source "$(dirname "$0")/environment.sh"
ruff check .
ruff format --check .
mypy monai_tl
source scripts/browser.sh
exec pytest -n "$(nproc)" --maxprocesses 8 --dist loadfile --no-loadscope-reorder "$@"
