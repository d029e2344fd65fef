#!/usr/bin/env bash
# Check style, types and behaviour, with one pytest process per core (about 2 GiB each); arguments are passed to pytest:
#   bash scripts/test.sh -m "not slow" -k freeze -n 0
set -euo pipefail
source "$(dirname "$0")/environment.sh"
ruff check .
ruff format --check .
mypy monai_tl
source scripts/browser.sh
exec pytest -n "$(env -u OMP_NUM_THREADS nproc)" --maxprocesses 8 --dist loadfile --no-loadscope-reorder "$@"
