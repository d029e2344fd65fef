# Sourced by the other scripts: activates a virtual environment in .venv with the versions in constraints.txt.
# It is created if it is missing, and created again if constraints.txt, setup.cfg or the Python version changed.
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="${PYTHON:-python3}"
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
  echo "Python 3.10 or later is required; '$python' is $("$python" --version 2>&1 || echo missing). Name another: PYTHON=python3.12 bash $0" >&2
  exit 2
fi
# not the Python of an active .venv, which may be created again below
python="$("$python" -c 'import sys; print(getattr(sys, "_base_executable", None) or sys.executable)')"
wanted="$("$python" --version) $(cat constraints.txt setup.cfg | sha256sum)"
if [ "$(cat .venv/fits 2>/dev/null)" != "$wanted" ]; then
  echo "setting up .venv (once, a few minutes) …"
  rm -rf .venv
  "$python" -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
  echo "$wanted" >.venv/fits
fi
export PATH="$PWD/.venv/bin:$PATH"
