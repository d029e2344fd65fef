"""Each item in a process of its own: memory stays flat, and one that is killed takes no other with it."""

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
    """What became of an item.

    Attributes:
        result: what the task gave; ``None`` where it failed.
        fault: why it failed, in a line; empty where it did not.
        full_disk: whether there was no room to write.
    """

    result: Any = None
    fault: str = ""
    full_disk: bool = False

    def raise_full_disk(self, folder: Path) -> None:
        """Raise where there was no room to write below a folder: there is none for the next item either."""
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
    """Run a task on each item in a process of its own (one thread), several at a time; yield them as they end.

    Args:
        task: a function of a module, that can be imported.
        items: name -> what the task takes; both have to be plain data.
        processes: at a time.
        preload: modules that take long to import: where the system can fork, they are imported once, by a server from
            which the processes are forked.
        nesting: whether a task starts processes itself; one that has to be ended leaves these to themselves.
        per_process: items that a process may be given one after another, where a process takes long to begin; then a
            fresh one, so that what a library leaks goes with it.
        fewer: the flag by which users set ``processes``.

    Leaving the iteration early ends the processes that still run, and so does the end of this one, however it comes.
    """
    context: Any = multiprocessing.get_context("spawn")
    if preload and "forkserver" in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(preload))
    waiting = list(items.items())
    running: dict[Any, tuple[str, BaseProcess, int]] = {}  # with the number of items that the process was given
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                name, item = waiting.pop(0)
                ours, theirs = context.Pipe()
                process = context.Process(target=_work, args=(theirs, task, item), daemon=not nesting)
                with _one_thread(), _no_interrupt():
                    process.start()
                theirs.close()  # so that its end is seen when the process ends
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
        outcome = Outcome(fault=f"its process ended {how}; repeat the command, with fewer {fewer} if it was memory")
    return outcome


def _send(ours: Connection, what: tuple[Any] | None) -> None:
    """Send a process its next item, or that there is none; one that has ended meanwhile is noticed when it is waited for."""
    with suppress(OSError):
        ours.send(what)


def _work(connection: Connection, task: Callable[[Any], Any], item: Any) -> None:
    """In the process: run the task on an item, send what became of it, and go on with the next one until there is none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent ends us
    print_anything()
    following: SimpleQueue[tuple[Any] | None] = SimpleQueue()
    threading.Thread(target=_listen, args=(connection, following), daemon=True).start()
    given: tuple[Any] | None = (item,)
    while given is not None:
        try:
            outcome = Outcome(result=task(given[0]))
        except Exception as error:  # whatever a scan makes a library raise
            outcome = Outcome(fault=in_words(error), full_disk=is_full_disk(error))
        connection.send(outcome)
        given = following.get()


def _listen(connection: Connection, following: SimpleQueue[tuple[Any] | None]) -> None:
    """Queue what the parent sends; the connection breaks when the parent is gone, killed for instance."""
    try:
        while True:
            following.put(connection.recv())
    except Exception:  # also of an item that cannot be unpickled: the parent is waiting for its outcome
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
