"""The image as it is written: what an engine would be given, checked without one. scripts/check_image.sh goes further."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import monai_tl
from monai_tl.cli import VERBS
from tests.conftest import mentions

ROOT = Path(__file__).parents[2]
CUDA = ("cuda-", "nvidia-", "triton")
INSIDE = {"extra": "", "python_version": "3.12", "python_full_version": "3.12.3", "sys_platform": "linux"}


def ask(*arguments, project=ROOT):
    command = [sys.executable, str(project / "scripts" / "image.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def steps():
    return [(instruction, argument) for instruction, argument in json.loads(ask("steps"))]


def of(steps, instruction):
    return [argument for name, argument in steps if name == instruction]


def pins(name):
    lines = [line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    requirements = [Requirement(line) for line in lines]
    assert all(re.fullmatch(r"==[\w.]+", str(requirement.specifier)) for requirement in requirements)
    return {canonicalize_name(requirement.name): str(requirement.specifier) for requirement in requirements}


def install_requires():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    return [Requirement(line) for line in setup["options"]["install_requires"].split("\n") if line]


def test_the_base_is_an_exact_tag_of_the_cuda_that_torch_brings(steps):
    (base,) = of(steps, "FROM")
    found = re.fullmatch(r"nvidia/cuda:(\d+\.\d+\.\d+)-base-ubuntu24\.04", base)
    assert found, base
    assert pins("constraints-cuda.txt")["cuda-toolkit"].startswith(f"=={found[1]}")
    labels = dict(pair.split("=", 1) for pair in shlex.split(" ".join(of(steps, "LABEL"))))
    assert labels["org.opencontainers.image.base.name"] == f"docker.io/{base}"
    assert labels["org.opencontainers.image.version"] == monai_tl.__version__


def test_it_runs_the_command_as_a_user_without_privileges(steps):
    assert json.loads(of(steps, "ENTRYPOINT")[0]) == ["monai_tl"]
    user = of(steps, "USER")[-1]
    assert user.isdecimal(), "a number, for clusters that refuse what may be root"
    assert user != "0"
    assert [name for name, _ in steps].index("USER") > max(n for n, (name, _) in enumerate(steps) if name == "RUN")


def test_code_comes_after_the_dependencies_and_installs_none(steps):
    said = [f"{name} {argument}" for name, argument in steps]
    dependencies = next(n for n, line in enumerate(said) if "--requirement" in line)
    code = next(n for n, line in enumerate(said) if line.startswith("COPY") and "monai_tl" in line)
    assert dependencies < code
    before = [line for line in said[:dependencies] if line.startswith("COPY")]
    assert before == ["COPY constraints-cuda.txt /opt/src/"]
    installs = [line for line in said if "pip install" in line]
    assert len(installs) == 2
    assert all("--no-deps" in line and "--no-cache-dir" in line for line in installs)
    assert "--no-build-isolation" in installs[1], "else setuptools comes from the index, whatever its version"


def test_whatever_is_copied_reaches_the_context(steps):
    context = ask("context").splitlines()
    sources = [source for argument in of(steps, "COPY") for source in shlex.split(argument)[:-1]]
    assert len(sources) >= 8
    for source in sources:
        assert any(path == source or path.startswith(f"{source}/") for path in context), f"{source} does not reach the engine"
    needless = [path for path in context if not any(path == source or path.startswith(f"{source}/") for source in sources)]
    assert not needless


def test_the_context_leaves_out_what_is_private_or_large(tmp_path):
    for name in ("scripts/image.py", "docker/Dockerfile", ".dockerignore", "docker/smoke.sh", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    bundle = "bundles/ixi_hippocampus"
    kept = ["monai_tl/phantoms/heads.py", f"{bundle}/configs/train.yaml", f"{bundle}/eval/schema.json"]
    left_out = [
        *(".git/config", ".venv/bin/python", "data/phantom/ixi/datalist.json", "runs/freeze_2/model.pt", "tests/conftest.py"),
        *(".pytest_cache/README.md", "monai_tl/data/__pycache__/phantom.pyc", "monai_tl.egg-info/PKG-INFO"),
        *(f"{bundle}/models/model.pt", f"{bundle}/eval/predictions/IXI012.nii.gz", f"{bundle}/.ipynb_checkpoints/a.yaml"),
    ]
    for name in (*kept, *left_out):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert sorted(ask("context", project=tmp_path).splitlines()) == sorted([*kept, "README.md", "docker/smoke.sh"])


def test_the_images_pins_are_the_tested_ones():
    tested, image = pins("constraints.txt"), pins("constraints-cuda.txt")
    text = (ROOT / "constraints-cuda.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert "--" not in text
    for name in image.keys() & tested.keys():
        assert image[name] == tested[name], name
    own = {name for name in image.keys() - tested.keys() if not name.startswith(CUDA)}
    assert own == {"setuptools"}, "of Python 3.12 alone, where it is no part of a new environment"
    assert sum(name.startswith("nvidia-") for name in image) >= 15
    without_cuda = text.split("# Brought by torch's CUDA build")[0]
    others = {name for name in image if f"\n{name}==" in without_cuda}
    assert others == {name for name in image if not name.startswith(CUDA)}, "check_image.sh cuts the file there"


def test_nothing_that_the_package_needs_is_unpinned():
    image = pins("constraints-cuda.txt")
    seen, waiting = set(), install_requires()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        assert name in image, f"{name} is needed and not in constraints-cuda.txt"
        assert requirement.specifier.contains(image[name].removeprefix("=="), prereleases=True), str(requirement)
        if name not in seen and not name.startswith(CUDA):
            seen.add(name)
            beneath = map(Requirement, metadata.requires(name) or [])
            waiting += [each for each in beneath if each.marker is None or each.marker.evaluate(INSIDE)]
    assert len(seen) >= 25


def test_compose_reserves_a_gpu_and_mounts_what_the_bundles_paths_lead_to(steps):
    (service,) = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8"))["services"].values()
    build = service["build"]
    assert (ROOT / "docker" / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()
    (workdir,) = of(steps, "WORKDIR")
    assert service["volumes"] == [f"../data:{workdir}/data:ro", f"../runs:{workdir}/runs", f"../bundles:{workdir}/bundles"]
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert re.fullmatch(r"\d+gb", service["shm_size"])


def test_the_container_commands_fit_the_image(steps):
    """What runs elsewhere alone is held to the files here: paths, mounts, verbs."""
    page = (ROOT / "docs" / "containers.md").read_text(encoding="utf-8")
    lines = "\n".join(re.findall(r"```bash\n(.*?)```", page, re.DOTALL)).replace("\\\n", " ").splitlines()
    documented = [re.sub(r"\s+# .*", "", line) for line in lines]
    (workdir,) = of(steps, "WORKDIR")
    assert any(
        shlex.split(line) == shlex.split("docker build --file docker/Dockerfile --tag monai_tl .") for line in documented
    )
    assert any(line.endswith("--entrypoint bash monai_tl docker/smoke.sh") for line in documented)
    verbs = re.findall(r" monai_tl(?:\.sif)? ([a-z]+)(?: |$)", "\n".join(documented))
    assert len(verbs) >= 3
    assert set(verbs) <= VERBS.keys()
    mounts = re.findall(r"\$PWD/(\w+):([\w/]+)", "\n".join(documented))
    assert len(mounts) >= 6
    assert all(inside == f"{workdir}/{outside}" for outside, inside in mounts)
    assert {outside for outside, _ in mounts} == {"data", "runs", "bundles"}


def test_hadolint_has_nothing_to_say():
    hadolint = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint has no build for this platform")
    done = subprocess.run([hadolint, "docker/Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def smoke(*command):
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    script = ["bash", str(ROOT / "docker" / "smoke.sh"), *map(str, command)]
    return subprocess.run(script, capture_output=True, text=True, env={"PATH": path, "OMP_NUM_THREADS": "1"})


def test_the_smoke_test_reports_what_failed():
    done = smoke("sh", "-c", 'echo "no such luck"; [ "$1" = --help ]', "monai_tl")
    assert done.returncode == 1
    assert "no such luck" in done.stderr
    mentions(done.stderr, "test FAILED")


@pytest.mark.slow
def test_the_smoke_test_passes_in_the_checkout(command):
    done = smoke(command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("smoke test passed\n")


def test_the_check_of_the_image_refuses_what_it_does_not_know():
    done = subprocess.run(["bash", str(ROOT / "scripts" / "check_image.sh"), "--cdua"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "check_image.sh --cuda" in done.stderr
