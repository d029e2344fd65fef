"""Do a study's runs on a Ray cluster: Ray schedules them and retries those of lost nodes; `worker.perform` does each run."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from monai_tl.errors import ConfigError, in_words
from monai_tl.storage.processes import Outcome
from monai_tl.storage.streams import print_anything
from monai_tl.study.execute import Ended
from monai_tl.study.worker import Order, perform

RETRIES = 5  # of a run whose process or node is lost; it resumes from its last validation
GPUS = "MONAI_TL_GPUS_PER_RUN"


def run_on_ray(orders: dict[str, Order], parallel: int) -> Ended:
    """Do runs on the Ray cluster at ``RAY_ADDRESS``, else on one that runs on this machine or is started there.

    The study's folder, the scans and the bundles must have the same paths on every node. Ray decides how many runs are done at
    a time: each needs its threads, and one GPU if the cluster has any (``MONAI_TL_GPUS_PER_RUN=0.5``: two runs per GPU).

    Raises:
        ConfigError: if Ray is not installed, or no node has room for a run.
    """
    try:
        import ray
    except ImportError:
        raise ConfigError("--engine ray needs Ray: pip install 'monai_tl[ray]', or omit --engine") from None
    started = not ray.is_initialized()
    if started:
        ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.WARNING)
    try:
        yield from _run(ray, orders)
    finally:
        if started:
            ray.shutdown()


def _run(ray: Any, orders: dict[str, Order]) -> Ended:
    threads = max((order.threads for order in orders.values()), default=1)
    needs = {"num_cpus": threads, "num_gpus": _gpus(ray)}
    _refuse_no_room(ray, needs)
    # one process per run: memory does not grow, and no run inherits the state of another
    remote = ray.remote(**needs, max_retries=RETRIES, max_calls=1)(_perform)
    waiting = {remote.remote(perform, order): name for name, order in orders.items()}
    try:
        while waiting:
            (ended, *_), _ = ray.wait(list(waiting), num_returns=1)
            yield waiting.pop(ended), _outcome(ray, ended)
    finally:
        for left in waiting:
            ray.cancel(left, force=True)


def _perform(task: Callable[[Order], None], order: Order) -> Outcome:
    """Do a run on a node and return its outcome, failures included: Ray retries only runs whose process or node is lost."""
    print_anything()
    try:
        task(order)
    except Exception as error:
        return Outcome(fault=in_words(error))
    return Outcome()


def _outcome(ray: Any, ended: Any) -> Outcome:
    try:
        outcome: Outcome = ray.get(ended)
    except ray.exceptions.RayError as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        return Outcome(fault=f"Ray gave up after {RETRIES} retries: {type(error).__name__}: {reason[:200]}")
    return outcome


def _gpus(ray: Any) -> float:
    """Return the share of a GPU that a run needs: one by default if the cluster has GPUs."""
    text = os.environ.get(GPUS)
    if text is None:
        return 1.0 if ray.cluster_resources().get("GPU", 0) else 0.0
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if share < 0:
        raise ConfigError(f"{GPUS} takes a share of a GPU, e.g. 0.5, or 1; got '{text}'")
    return share


def _refuse_no_room(ray: Any, needs: dict[str, float]) -> None:
    """Refuse runs that need more than any node has, for which Ray would wait for ever."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    names = {"num_cpus": "CPU", "num_gpus": "GPU"}
    if not any(all(node.get(names[key], 0) >= need for key, need in needs.items()) for node in nodes):
        exist = "; ".join(f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs" for node in nodes)
        raise ConfigError(
            f"no node of the Ray cluster has room for a run ({needs['num_cpus']} CPUs, {needs['num_gpus']:g} GPUs); nodes: "
            f"{exist}. Start the study with fewer threads (OMP_NUM_THREADS)"
        )
