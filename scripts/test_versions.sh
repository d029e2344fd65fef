#!/usr/bin/env bash
# Run the quick tests on the oldest and the newest supported Python, and on the oldest with the lowest versions that setup.cfg allows.
#   bash scripts/test_versions.sh                 # all three; arguments are passed to pytest, e.g. -k freeze
#   OLDEST=python3.10 NEWEST=python3.13 TORCH=2.13.0 bash scripts/test_versions.sh
# Needs uv (pip install uv) and the network. Environments, several GB each, are created in a temporary folder and removed.
# To use another index or a folder of wheels, e.g. with a CPU build of torch, set uv's variables: UV_INDEX=…, UV_FIND_LINKS=…
set -euo pipefail
cd "$(dirname "$0")/.."
oldest="${OLDEST:-3.10}" newest="${NEWEST:-3.11}" torch="${TORCH:-2.13.0}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
tests=(pytest pytest-xdist pydicom jsonschema uv) # what the tests need in addition to the package

# The tree is copied, as building the package writes files into it.
tar -c --exclude=./.git --exclude=./.venv --exclude=./data --exclude=./runs --exclude=./studies . | tar -x -C "$work" --one-top-level=tree

check() { # NAME PYTHON VERSIONS…: the first install determines the versions, the second adds what the tests need
  local name="$1" python="$2" && shift 2
  echo "== $name"
  uv venv --quiet --python "$python" "$work/$name"
  uv pip install --quiet --python "$work/$name" "$@"
  uv pip install --quiet --python "$work/$name" "${tests[@]}"
  uv pip list --python "$work/$name" 2>/dev/null | grep -E '^(monai|torch|numpy|scipy|nibabel|pytorch-ignite) '
  (cd "$work/tree" && OMP_NUM_THREADS=1 "$work/$name/bin/python" -m pytest -q -n "${JOBS:-2}" --dist loadfile -m "not slow" \
    -p no:cacheprovider "${arguments[@]}")
}

arguments=("$@")
package="$work/tree[dicom,ray]"
check oldest "$oldest" "torch==$torch" "$package"
check newest "$newest" "torch==$torch" "$package"
check lowest "$oldest" --resolution lowest-direct "$package"
