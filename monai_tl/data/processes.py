"""Each item in a process of its own: memory stays flat, and one that is killed takes no other with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from monai_tl.errors import in_words, is_full_disk

ONE_THREAD = ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Outcome:
    """What became of an item.

    Attributes:
        result: what the task gave; ``None`` where it failed.
        fault: why it failed, in a line; empty where it did not.
        full_disk: whether there was no room to write.
    """

    result: Any = None
    fault: str = ""
    full_disk: bool = False


def run_each(task: Callable[[Any], Any], items: Mapping[str, Any], processes: int) -> Iterator[tuple[str, Outcome]]:
    """Run a task on each item in a fresh process (spawn, one thread), several at a time; give them as they end.

    Args:
        task: a function of a module, that can be imported.
        items: name -> what the task takes; both have to be plain data.
        processes: at a time.

    Leaving the iteration early ends the processes that still run.
    """
    context = multiprocessing.get_context("spawn")
    waiting = list(items.items())
    running: dict[Any, tuple[str, SpawnProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                name, item = waiting.pop(0)
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_call, args=(theirs, task, item), daemon=True)
                with _one_thread():
                    process.start()
                theirs.close()  # so that its end is seen when the process ends
                running[ours] = name, process
            for ended in wait(list(running)):
                name, process = running.pop(ended)
                yield name, _outcome(ended, process)
    finally:
        for _, process in running.values():
            process.terminate()
            process.join()


def _outcome(ours: Any, process: SpawnProcess) -> Outcome:
    try:
        outcome: Outcome = ours.recv()
    except (EOFError, OSError):
        process.join()
        code = process.exitcode or 0
        how = f"by {signal.Signals(-code).name} (too little memory?)" if code < 0 else f"with exit code {code}"
        outcome = Outcome(fault=f"its process ended {how}; repeat the command, with fewer --processes if it was memory")
    process.join()
    ours.close()
    return outcome


def _call(connection: Connection, task: Callable[[Any], Any], item: Any) -> None:
    """In the process: run the task and send what became of it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent ends us
    try:
        outcome = Outcome(result=task(item))
    except Exception as error:  # whatever a scan makes a library raise
        outcome = Outcome(fault=in_words(error), full_disk=is_full_disk(error))
    connection.send(outcome)
    connection.close()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Have libraries that count threads when they are loaded count one."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
