"""``monai_tl`` for scripts under test: each call is a fork of one process that has imported what takes seconds to import."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

IMPORTED = ("torch", "monai.bundle", "monai.data", "monai.engines", "monai.handlers", "monai.inferers", "monai.losses")
CLIENT = """#!{python} -IS
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
call = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode("utf-8", "surrogateescape") + b"\\n"
socket.send_fds(server, [call[:1]], [0, 1, 2])
server.sendall(call[1:])
sys.exit(int(server.recv(8) or b"1"))
"""


@contextmanager
def forked_command(folder: Path, python_path: Path) -> Iterator[Path]:
    """Write the executable ``monai_tl`` into a folder and answer its calls; the package is that under ``python_path``."""
    folder.mkdir(parents=True)
    address, client = str(folder / "socket"), folder / "monai_tl"
    client.write_text(CLIENT.format(python=sys.executable, address=address), encoding="utf-8")
    client.chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(python_path), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, __file__, address], env=environment, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        yield client
        server.terminate()


def _serve(address: str) -> None:
    for name in IMPORTED:
        __import__(name)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that ended
    print("ready", flush=True)
    while True:
        caller, _ = listener.accept()
        if not os.fork():
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _answer(caller)
        caller.close()


def _answer(caller: socket.socket) -> None:
    """Run one call, on its terminal, in its folder, with its environment; its exit code is sent back."""
    begun, descriptors, _, _ = socket.recv_fds(caller, 1, 3)
    with caller.makefile("rb") as rest:
        arguments, folder, environment = json.loads(begun + rest.readline())
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = arguments
    code = 1
    try:
        from monai_tl.__main__ import main

        code = main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        caller.sendall(str(code).encode())
        os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1])
