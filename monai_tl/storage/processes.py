"""Each item in a process of its own: memory stays flat, and one that is killed takes no other with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from monai_tl.errors import in_words, is_full_disk
from monai_tl.storage.cores import thread_settings
from monai_tl.storage.streams import print_anything

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


def run_each(
    task: Callable[[Any], Any],
    items: Mapping[str, Any],
    processes: int,
    *,
    preload: Sequence[str] = (),
    nesting: bool = False,
    fewer: str = "--processes",
) -> Generator[tuple[str, Outcome], None, None]:
    """Run a task on each item in a fresh process (one thread), several at a time; give them as they end.

    Args:
        task: a function of a module, that can be imported.
        items: name -> what the task takes; both have to be plain data.
        processes: at a time.
        preload: modules that take long to import: where the system can fork, they are imported once, by a server from
            which the processes are forked.
        nesting: whether a task starts processes itself; one that has to be ended leaves these to themselves.
        fewer: the flag by which users set ``processes``.

    Leaving the iteration early ends the processes that still run, and so does the end of this one, however it comes.
    """
    context: Any = multiprocessing.get_context("spawn")
    if preload and "forkserver" in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(preload))
    waiting = list(items.items())
    running: dict[Any, tuple[str, BaseProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                name, item = waiting.pop(0)
                ours, theirs = context.Pipe()
                process = context.Process(target=_call, args=(theirs, task, item), daemon=not nesting)
                with _one_thread(), _no_interrupt():
                    process.start()
                theirs.close()  # so that its end is seen when the process ends
                running[ours] = name, process
            for ended in wait(list(running)):
                name, process = running.pop(ended)
                yield name, _outcome(ended, process, fewer)
    finally:
        for _, process in running.values():
            process.terminate()
            process.join()


def _outcome(ours: Any, process: BaseProcess, fewer: str) -> Outcome:
    try:
        outcome: Outcome = ours.recv()
    except (EOFError, OSError):
        process.join()
        code = process.exitcode or 0
        how = f"by {signal.Signals(-code).name} (too little memory?)" if code < 0 else f"with exit code {code}"
        outcome = Outcome(fault=f"its process ended {how}; repeat the command, with fewer {fewer} if it was memory")
    process.join()
    ours.close()
    return outcome


def _call(connection: Connection, task: Callable[[Any], Any], item: Any) -> None:
    """In the process: run the task and send what became of it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent ends us
    print_anything()
    threading.Thread(target=_end_with_parent, args=(connection,), daemon=True).start()
    try:
        outcome = Outcome(result=task(item))
    except Exception as error:  # whatever a scan makes a library raise
        outcome = Outcome(fault=in_words(error), full_disk=is_full_disk(error))
    connection.send(outcome)
    connection.close()


def _end_with_parent(connection: Connection) -> None:
    """Wait for what never comes: the connection breaks when the parent is gone, killed for instance."""
    try:
        connection.recv()
    except (EOFError, OSError):
        os._exit(1)


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Hold Ctrl-C back until a process is there, and from it for good: it would print where its imports were broken off."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it would be started in between, and let Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Have libraries that count threads when they are loaded count one, and keep quiet about what was broken off."""
    quiet = os.environ.get("PYTHONWARNINGS", "ignore::UserWarning")  # of semaphores that an ended process leaves
    told = {**thread_settings(), **dict.fromkeys(ONE_THREAD, "1"), "PYTHONWARNINGS": quiet}
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
