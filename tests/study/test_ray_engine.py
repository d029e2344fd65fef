"""The same runs on Ray: results, faults, and a node that is lost while it works."""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from monai_tl.errors import ConfigError
from monai_tl.study import ray_engine
from monai_tl.study.run_state import is_finished
from monai_tl.study.worker import Order
from tests.conftest import leave_scores, score_of

ray = pytest.importorskip("ray")


def orders(folder: Path, count: int) -> dict[str, Order]:
    settings = [{"run_dir": str(folder / f"run{n}")} for n in range(count)]
    return {f"run{n}": Order((), run_settings, "", 1, {}) for n, run_settings in enumerate(settings)}


@pytest.fixture
def cluster(monkeypatch):
    """A head without room for runs and two nodes of one run each, on this machine."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_DISABLE_IMPORT_WARNING", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # what the processes of Ray are to import
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [made.add_node(num_cpus=1), made.add_node(num_cpus=1)]
    ray.init(address=made.address, log_to_driver=False)
    yield made, nodes
    ray.shutdown()
    made.shutdown()


def _slow(order: Order) -> None:
    """Count to 12 in a file, on from where it was, as a training does; then leave scores."""
    folder = Path(order.settings["run_dir"])
    folder.mkdir(exist_ok=True)
    at = folder / "last.txt"
    with (folder / "nodes.txt").open("a") as file:
        file.write(ray.get_runtime_context().get_node_id() + "\n")
    for step in range(int(at.read_text()) if at.is_file() else 0, 12):
        time.sleep(0.25)
        at.write_text(str(step + 1))
    (folder / "metadata.json").write_text('{"validation_dice": 0.5}')
    leave_scores(folder, [score_of("A", 0.5, 2.0, 10.0, 9.0, 0.1)])


def _fails(order: Order) -> None:
    raise ConfigError(f"no room for {Path(order.settings['run_dir']).name}")


def _lose(made, node, folder: Path) -> None:
    """Kill a node once it is in the midst of a run."""
    for _ in range(1200):
        time.sleep(0.1)
        for at in folder.glob("*/nodes.txt"):
            if node.node_id in at.read_text() and (at.parent / "last.txt").is_file() and not is_finished(at.parent):
                made.remove_node(node, allow_graceful=False)
                return


@pytest.mark.slow
def test_all_runs_finish_though_a_node_is_lost(cluster, tmp_path, monkeypatch):
    made, nodes = cluster
    monkeypatch.setattr(ray_engine, "perform", _slow)
    killer = threading.Thread(target=_lose, args=(made, nodes[0], tmp_path))
    killer.start()
    outcomes = dict(ray_engine.run_on_ray(orders(tmp_path, 3), 1))
    killer.join()
    lost = nodes[0].node_id
    assert {name: outcome.fault for name, outcome in outcomes.items()} == dict.fromkeys(orders(tmp_path, 3), "")
    assert all(is_finished(tmp_path / name) for name in outcomes)
    visits = [(tmp_path / name / "nodes.txt").read_text().split() for name in outcomes]
    broken = [visit for visit in visits if len(visit) > 1]
    assert len(broken) == 1, "one run was broken off and went on"
    assert broken[0][0] == lost != broken[0][1]


@pytest.mark.slow
def test_a_run_s_fault_is_reported_once_and_a_run_without_room_is_refused(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_engine, "perform", _fails)
    outcomes = dict(ray_engine.run_on_ray(orders(tmp_path, 2), 1))
    assert {name: outcome.fault for name, outcome in outcomes.items()} == {f"run{n}": f"no room for run{n}" for n in (0, 1)}
    large = {name: replace(order, threads=3) for name, order in orders(tmp_path, 1).items()}
    with pytest.raises(ConfigError, match=r"Ray.*\(3 CPUs, 0 GPUs\)"):
        list(ray_engine.run_on_ray(large, 1))
    monkeypatch.setenv(ray_engine.GPUS, "many")
    with pytest.raises(ConfigError, match="GPU, e.g. 0.5.*1.*'many'"):
        list(ray_engine.run_on_ray(orders(tmp_path, 1), 1))


def test_without_ray_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"--engine.*Ray.*'monai_tl\[ray\]'"):
        list(ray_engine.run_on_ray(orders(tmp_path, 1), 1))
