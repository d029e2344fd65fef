#!/usr/bin/env bash
# Check the container image without a container engine: lint, build context, pins, then the Dockerfile's steps and the smoke test in
# a clean root file system. Needs root, mmdebstrap and 4 GB in TMPDIR (12 GB with --cuda); removes everything it creates.
#   sudo bash scripts/check_image.sh           with torch's CPU build instead of the CUDA build, which has 3 GB
#   sudo bash scripts/check_image.sh --cuda    with the packages of the image
# The root is Ubuntu 24.04, as in the image, if its keyring is installed and pip finds wheels for Python 3.12; else Debian 12 with 3.11.
# Wheels come from the index in pip's configuration; a CPU build of torch is one whose version ends in +cpu.
set -euo pipefail
torch_build=cpu
[ "${1:-}" = --cuda ] && torch_build=cuda && shift
[ $# = 0 ] || { sed -n '2,7p' "$0" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "needs root, for chroot: sudo bash $0" >&2; exit 2; }
command -v mmdebstrap >/dev/null || { echo "needs mmdebstrap (and ubuntu-keyring, for the base's Ubuntu): apt-get install mmdebstrap" >&2; exit 2; }
source "$(dirname "$0")/environment.sh"

work=$(mktemp -d)
part="setting up" passed=()
finish() {
  local code=$?
  [ "$code" = 0 ] || echo "check of the image FAILED in: $part" >&2
  rm -rf --one-file-system "$work" # mounts below it exist only in their own namespaces
}
trap finish EXIT
begin() { part=$1; printf '\n== %s\n' "$part"; }
pass() { passed+=("$part${1:+: $1}"); }

begin "1/4 hadolint"
hadolint docker/Dockerfile
pass

begin "2/4 build context"
mkdir "$work/context"
python scripts/image.py context >"$work/files"
tar --create --files-from "$work/files" | tar --extract --directory "$work/context"
pytest --quiet tests/docker -k "context or copied"
pass "$(wc -l <"$work/files") files, $(du --summarize --human-readable "$work/context" | cut -f1)"

# Resolved from the index's metadata only, so Python 3.12 need not be installed.
begin "3/4 constraints-cuda.txt resolves to itself for Python 3.12"
python -c 'import configparser as c; p = c.ConfigParser(); p.read("setup.cfg"); print(p["options"]["install_requires"])' >"$work/requirements"
UV_PYTHON_DOWNLOADS=never uv pip compile --quiet --no-config --no-header --no-annotate --only-binary :all: \
  --python-version 3.12 --python-platform x86_64-manylinux_2_28 --constraint constraints-cuda.txt "$work/requirements" | sort >"$work/resolved"
diff <(grep -v '^#' constraints-cuda.txt | sort) "$work/resolved"
pass "$(wc -l <"$work/resolved") packages"

begin "4/4 the Dockerfile's steps and the smoke test in a clean root"
pins=$work/context/constraints-cuda.txt
if [ $torch_build = cpu ]; then
  sed -i '/^# Brought by torch.s CUDA build/,$d' "$pins"
  torch=$(sed -n 's/^torch==.*/&+cpu/p' "$pins")
else
  torch=$(grep '^torch==' "$pins")
fi
platforms=()
for minor in $(seq 5 35); do platforms+=(--platform "manylinux_2_${minor}_$(uname -m)"); done
make_root() { # SUITE COMPONENTS PYTHON
  [ "$3" = 3.12 ] || grep '^importlib_resources' constraints.txt >>"$pins" # nibabel needs it before Python 3.12
  sed "s/^torch==.*/$torch/" "$pins" >"$work/wanted"
  rm -rf --one-file-system "$work/wheels" "$work/root"
  pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --implementation cp --python-version "$3" \
    "${platforms[@]}" --platform "manylinux2014_$(uname -m)" --dest "$work/wheels" --requirement "$work/wanted" &&
    mmdebstrap --quiet --variant=minbase --include=apt --components="$2" "$1" "$work/root" && mv "$work/wheels" "$work/root/"
} >"$work/log" 2>&1
for release in "noble main,universe 3.12" "bookworm main 3.11"; do
  echo "a root of $release, with $torch …"
  # shellcheck disable=SC2086
  make_root $release && break
  echo "not available: $(tail -n 1 "$work/log")"
  release=
done
[ -n "$release" ] || exit 1
cp /etc/resolv.conf "$work/root/etc/"
# Run in a separate mount namespace, whose mounts end with it, however this script ends.
in_namespace() {
  unshare --mount --pid --fork --kill-child bash -euc '
    root=$1; shift
    mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"; mount -t tmpfs tmpfs "$root/dev/shm"
    "$@"' - "$work/root" "$@"
}
IMAGE_PIP_NO_INDEX=1 IMAGE_PIP_FIND_LINKS=/wheels in_namespace python scripts/image.py replay "$work/root" "$work/context"
for user in own 12345; do # the image's user, and one that is not in /etc/passwd, as with --user
  echo "as user '$user': write access and smoke test"
  in_namespace python scripts/image.py run "$work/root" "$user" \
    sh -euc 'for each in data runs bundles/ixi_hippocampus "$HOME"; do test -w "$each" || { echo "$each cannot be written" >&2; exit 1; }; done'
  in_namespace python scripts/image.py run "$work/root" "$user" bash docker/smoke.sh
done
pass "$(. "$work/root/etc/os-release"; echo "$PRETTY_NAME"), Python ${release##* }, $torch ($torch_build), as two users"

printf '\n'
printf 'passed   %s\n' "${passed[@]}"
printf 'not checked without an engine: the base image, its layers and labels, %scompose.yaml, Apptainer, a GPU\n' \
  "$([ $torch_build = cuda ] || echo 'the CUDA packages (see --cuda), ')"
