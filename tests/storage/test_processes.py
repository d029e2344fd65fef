"""Items run in processes of their own: what fails or is killed takes no other with it."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from monai_tl.storage.processes import run_each


def test_results_come_by_name_and_a_failing_item_stops_no_other():
    outcomes = dict(run_each(math.sqrt, {"four": 4, "negative": -1, "nine": 9}, 2))
    assert (outcomes["four"].result, outcomes["nine"].result) == (2, 3)
    assert outcomes["negative"].fault == "ValueError: math domain error"


def test_a_killed_process_is_reported_and_the_others_continue():
    outcomes = dict(run_each(signal.raise_signal, {"killed": signal.SIGKILL, "harmless": signal.SIGCONT}, 1))
    assert "its process ended by SIGKILL (too little memory?)" in outcomes["killed"].fault
    assert outcomes["harmless"].fault == ""
    assert "with exit code 7" in dict(run_each(os._exit, {"gone": 7}, 1))["gone"].fault


def test_a_process_counts_one_thread_and_the_parent_is_left_as_it_was(monkeypatch):
    monkeypatch.delenv("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", raising=False)
    outcomes = dict(run_each(os.getenv, {"itk": "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"}, 1))
    assert outcomes["itk"].result == "1"
    assert "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS" not in os.environ


def test_ctrl_c_is_the_parent_s_alone(tmp_path):
    """A server that is still importing would print where it was broken off; the first processes of a parent start others."""
    code = (
        "from monai_tl.storage.processes import run_each\nfrom tests.storage.test_processes import _blocked\n"
        "if __name__ == '__main__':\n"
        "    (_, outcome), = run_each(_blocked, {'one': 0}, 1, preload=['tests.storage.test_processes'])\n"
        "    print(outcome.result, _blocked(0))\n"
    )
    (tmp_path / "parent.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, tmp_path / "parent.py"], env=environment, capture_output=True, text=True)
    assert done.stdout == "(True, True) (False, False)\n", done.stderr


def _blocked(_: int) -> tuple[bool, bool]:
    """Say if this process, and the one that it was forked from, hold Ctrl-C back."""
    parent = Path(f"/proc/{os.getppid()}/status").read_text().split("SigBlk:")[1].split()[0]
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []), bool(int(parent, 16) >> (signal.SIGINT - 1) & 1)


def test_leaving_early_ends_what_runs():
    outcomes = run_each(time.sleep, {"short": 0, "long": 600}, 2)
    assert next(outcomes)[0] == "short"
    began = time.perf_counter()
    outcomes.close()
    assert time.perf_counter() - began < 10


def test_the_parent_does_not_grow_with_what_it_has_handed_on():
    """Twelve results of 20 MB each pass through it. Python counts: freed memory may stay with the process."""
    sizes = []
    tracemalloc.start()
    try:
        for _, outcome in run_each(bytes, {str(n): 20_000_000 for n in range(12)}, 1):
            assert len(outcome.result) == 20_000_000
            sizes.append(tracemalloc.get_traced_memory()[0] / 1e6)
    finally:
        tracemalloc.stop()
    assert sizes == pytest.approx([sizes[0]] * 12, abs=5)


def test_a_full_disk_is_recognised():
    outcome = dict(run_each(os.strerror, {"fine": 28}, 1))["fine"]
    assert not outcome.full_disk
    outcome = dict(run_each(_raise_by_write, {"full": "/dev/full"}, 1))["full"]
    assert outcome.full_disk
    assert "the disk is full" in outcome.fault


def test_processes_end_with_a_parent_that_is_killed(tmp_path):
    """Else what goes on with the work would meet those that still do it."""
    code = (
        "import signal\nfrom monai_tl.storage.processes import run_each\nfrom tests.storage.test_processes import _sleep\n"
        f"if __name__ == '__main__':\n    list(run_each(_sleep, {{'one': {str(tmp_path / 'id')!r}}}, 1))\n"
    )
    (tmp_path / "parent.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, tmp_path / "parent.py"], env=environment) as parent:
        child = _written(tmp_path / "id")
        parent.kill()
    for _ in range(100):
        if not _runs(child):
            return
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the process outlived its parent")


def test_what_takes_long_to_import_is_imported_once_and_each_item_still_has_its_own_process():
    outcomes = dict(run_each(_process, {"one": 0, "two": 0}, 1, preload=["tests.storage.test_processes"], nesting=True))
    ids, parents, daemons = zip(*(outcomes[name].result for name in ("one", "two")), strict=True)
    assert ids[0] != ids[1]
    assert parents[0] == parents[1] != os.getpid()
    assert daemons == (False, False)


def _process(_: int) -> tuple[int, int, bool]:
    return os.getpid(), os.getppid(), bool(multiprocessing.current_process().daemon)


def _sleep(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)


def _written(path: Path) -> int:
    for _ in range(300):
        if path.is_file() and path.read_text():
            return int(path.read_text())
        time.sleep(0.1)
    raise TimeoutError(path)


def _runs(process: int) -> bool:
    try:
        return "(python" in Path(f"/proc/{process}/stat").read_text() and " Z " not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


def _raise_by_write(path: str) -> None:
    with open(path, "wb", buffering=0) as file:
        file.write(b"x")


def test_a_process_takes_some_items_then_gives_way_to_a_fresh_one():
    outcomes = dict(run_each(_pid, {str(n): n for n in range(5)}, 1, per_process=2))
    pids = [outcomes[str(n)].result for n in range(5)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]
    assert os.getpid() not in pids


def test_of_a_process_that_dies_only_the_item_at_hand_is_lost():
    items = {"one": 0, "killed": signal.SIGKILL, "three": 0}
    outcomes = dict(run_each(_signal, items, 1, per_process=3))
    assert "SIGKILL" in outcomes["killed"].fault
    assert [outcomes[name].fault for name in ("one", "three")] == ["", ""]
    assert outcomes["one"].result != outcomes["three"].result


def _pid(_: int) -> int:
    return os.getpid()


def _signal(number: int) -> int:
    if number:
        signal.raise_signal(number)
    return os.getpid()
