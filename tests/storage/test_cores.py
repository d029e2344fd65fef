"""Cores at hand are those that a process may run on, within its container's quota; threads wait without spinning."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from monai_tl.storage import cores
from monai_tl.storage.cores import WAITING, cores_at_hand, fitting, keep_within_cores, thread_settings
from monai_tl.storage.processes import run_each
from tests.conftest import mentions


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of 16 cores, of which this process may use 12; files below its cgroups are given."""
    monkeypatch.setattr(cores, "CGROUPS", tmp_path)
    monkeypatch.setattr(cores, "OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    for name in ("OMP_NUM_THREADS", *WAITING):
        monkeypatch.delenv(name, raising=False)

    def make(own, **files):
        (tmp_path / "own").write_text(own)
        for name, content in files.items():
            path = tmp_path / name.replace("__", "/").replace("_max", ".max").replace("cfs", ".cfs")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    return make


def test_without_cgroups_it_is_what_the_process_may_run_on(machine, monkeypatch):
    assert cores_at_hand() == 12
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cores_at_hand() == 16


@pytest.mark.parametrize(
    ("quota", "found"), [("400000 100000\n", 4), ("150000 100000", 1), ("50000 100000", 1), ("max 100000", 12), ("odd", 12)]
)
def test_the_quota_of_a_container_counts(machine, quota, found):
    machine("0::/jobs/one\n", jobs__one__cpu_max=quota)
    assert cores_at_hand() == found


def test_the_quota_of_a_group_above_counts_too(machine):
    machine("0::/jobs/one\n", jobs__one__cpu_max="800000 100000", jobs__cpu_max="300000 100000", cpu_max="max 100000")
    assert cores_at_hand() == 3


def test_version_1_counts(machine):
    files = {"cpu__jobs__cpucfs_quota_us": "250000\n", "cpu__jobs__cpucfs_period_us": "100000\n"}
    machine("4:memory:/other\n1:cpu,cpuacct:/jobs\n0::/\n", **files)
    assert cores_at_hand() == 2
    machine("1:cpu:/jobs\n", cpu__jobs__cpucfs_quota_us="-1\n")
    assert cores_at_hand() == 12


def test_threads_fit_the_cores(machine, capsys):
    assert [fitting(4), fitting(20), fitting(4, threads=4), fitting(2, threads=30)] == [4, 12, 3, 1]
    assert keep_within_cores("--parallel", 3, 4) == 3
    assert capsys.readouterr().err == ""
    assert keep_within_cores("--parallel", 8, 4) == 3
    mentions(capsys.readouterr().err, "--parallel 8: 12 cores … 3 at a time … 4 threads")


def test_threads_wait_without_spinning_unless_the_user_says_otherwise(machine, monkeypatch):
    assert thread_settings() == {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "12"}
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert thread_settings() == {"OMP_WAIT_POLICY": "PASSIVE"}
    for name in WAITING:
        with monkeypatch.context() as patched:
            patched.setenv(name, "1")
            assert thread_settings() == {}
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert "OMP_NUM_THREADS" not in thread_settings(), "OpenMP counts the same"


def test_verbs_and_their_processes_wait_so(monkeypatch):
    for name in WAITING:
        monkeypatch.delenv(name, raising=False)
    outcomes = dict(run_each(os.getenv, {"policy": "OMP_WAIT_POLICY"}, 1))
    assert outcomes["policy"].result == "PASSIVE"
    assert "OMP_WAIT_POLICY" not in os.environ
    code = "import os, sys\nfrom monai_tl.__main__ import main\nsys.argv[1:] = ['--help']\nmain()\n"
    code += "print(os.environ['OMP_WAIT_POLICY'])"
    for given, expected in (({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        environment = {**os.environ, **given}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
        assert done.stdout.splitlines()[-1] == expected
