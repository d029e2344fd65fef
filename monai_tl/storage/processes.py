"""A pool in which each item has its own process: memory does not grow, and a killed process affects no other item."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from monai_tl.errors import in_words, is_full_disk
from monai_tl.storage.cores import thread_settings
from monai_tl.storage.streams import print_anything

ONE_THREAD = ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Outcome:
    """The outcome of a task on one item.

    Attributes:
        result: what the task returned; ``None`` if it failed.
        fault: why it failed, in one line; empty if it succeeded.
        full_disk: whether it failed because the disk is full.
    """

    result: Any = None
    fault: str = ""
    full_disk: bool = False

    def raise_full_disk(self, folder: Path) -> None:
        """Raise an OSError if the disk of a folder is full, as the next item would fail too."""
        if self.full_disk:
            raise OSError(errno.ENOSPC, "no space left", str(folder))


def run_each(
    task: Callable[[Any], Any],
    items: Mapping[str, Any],
    processes: int,
    *,
    preload: Sequence[str] = (),
    nesting: bool = False,
    per_process: int = 1,
    fewer: str = "--processes",
) -> Generator[tuple[str, Outcome], None, None]:
    """Run a task on each item in a separate process of one thread, several at a time.

    Processes that still run end when the iteration is left early, and when this process ends, even if it is killed.

    Args:
        task: a function at the top level of a module.
        items: name -> argument of the task; both the argument and the result must be picklable.
        processes: number of processes at a time.
        preload: modules that take long to import. If the system can fork, a server imports them once and forks the processes.
        nesting: whether the task starts processes itself; these survive if the task's process has to be ended.
        per_process: number of items that a process handles before a new one replaces it. More than one saves the time of
            starting processes; replacing them frees memory that libraries leak.
        fewer: the flag by which users set ``processes``, for messages.

    Yields:
        Name and outcome of each item, in the order in which they finish.
    """
    context: Any = multiprocessing.get_context("spawn")
    if preload and "forkserver" in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(preload))
    waiting = list(items.items())
    running: dict[Any, tuple[str, BaseProcess, int]] = {}  # connection -> name, process, number of items given to it
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                name, item = waiting.pop(0)
                ours, theirs = context.Pipe()
                process = context.Process(target=_work, args=(theirs, task, item), daemon=not nesting)
                with _one_thread(), _no_interrupt():
                    process.start()
                theirs.close()  # so that reading fails when the process ends
                running[ours] = name, process, 1
            ready: list[Any] = wait(list(running))
            for ended in ready:
                name, process, given = running.pop(ended)
                outcome = _receive(ended, process, fewer)
                if waiting and given < per_process and process.is_alive():
                    following, item = waiting.pop(0)
                    running[ended] = following, process, given + 1
                    _send(ended, (item,))
                else:
                    _send(ended, None)
                    process.join()
                    ended.close()
                yield name, outcome
    finally:
        for _, process, _ in running.values():
            process.terminate()
            process.join()


def _receive(ours: Connection, process: BaseProcess, fewer: str) -> Outcome:
    try:
        outcome: Outcome = ours.recv()
    except (EOFError, OSError):
        process.join()
        code = process.exitcode or 0
        how = f"by {signal.Signals(-code).name} (too little memory?)" if code < 0 else f"with exit code {code}"
        outcome = Outcome(fault=f"its process ended {how}; repeat the command, with fewer {fewer} if memory ran out")
    return outcome


def _send(ours: Connection, what: tuple[Any] | None) -> None:
    """Send a process its next item, or None to end it; a process that has already ended is detected by `_receive`."""
    with suppress(OSError):
        ours.send(what)


def _work(connection: Connection, task: Callable[[Any], Any], item: Any) -> None:
    """Run the task on one item after another, in the child process, and send each outcome."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group: the parent ends this process
    print_anything()
    following: SimpleQueue[tuple[Any] | None] = SimpleQueue()
    threading.Thread(target=_listen, args=(connection, following), daemon=True).start()
    given: tuple[Any] | None = (item,)
    while given is not None:
        try:
            outcome = Outcome(result=task(given[0]))
        except Exception as error:  # libraries raise many kinds of errors for a damaged scan
            outcome = Outcome(fault=in_words(error), full_disk=is_full_disk(error))
        connection.send(outcome)
        given = following.get()


def _listen(connection: Connection, following: SimpleQueue[tuple[Any] | None]) -> None:
    """Queue the items that the parent sends; end this process if the connection breaks, e.g. because the parent was killed."""
    try:
        while True:
            following.put(connection.recv())
    except Exception:  # also if an item cannot be unpickled: the parent waits for its outcome
        os._exit(1)


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Block Ctrl-C while a process starts, and in that process for good: it would print a traceback of its imports."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # started later, it would unblock Ctrl-C
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Set environment variables for a child process: one thread for libraries that read them on import, and no warnings."""
    quiet = os.environ.get("PYTHONWARNINGS", "ignore::UserWarning")  # a warning about semaphores that an ended process leaves
    variables = {**thread_settings(), **dict.fromkeys(ONE_THREAD, "1"), "PYTHONWARNINGS": quiet}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
