#!/usr/bin/env bash
# Check style, types and behaviour; arguments go to pytest: bash scripts/test.sh -m "not slow" -k freeze
set -euo pipefail
source "$(dirname "$0")/environment.sh"
ruff check .
ruff format --check .
mypy monai_tl
source scripts/browser.sh
exec pytest "$@"
