"""``python -m monai_tl`` and the ``monai_tl`` command."""

from __future__ import annotations

import os
import sys
import threading
import warnings

from monai_tl.errors import PartlyDoneError, user_error
from monai_tl.storage.cores import thread_settings
from monai_tl.storage.streams import is_closed, print_anything


def main() -> int:
    """Run a verb and return the exit code.

    A user's error is printed in one line (exit code 2; 1 if some cases failed and the others are finished). If the reader of
    the output has gone, as after ``| head``, the code is a shell command's (141).
    """
    warnings.simplefilter("ignore")  # libraries warn about things that the user of a verb cannot change
    threading.excepthook = _thread_excepthook
    print_anything()
    os.environ.update(thread_settings())
    from monai_tl import cli  # imported late: help and refusals should not wait for the libraries
    from monai_tl.cli import dispatch

    try:
        dispatch.run(cli.VERBS, sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        if not is_closed(sys.stdout):
            raise
        return 141
    except KeyboardInterrupt:
        return _fail("interrupted; finished work is kept", 130)
    except PartlyDoneError as error:
        return _fail(error, 1)
    except Exception as error:
        cause = user_error(error)
        if cause is None:
            raise  # a bug: show the traceback
        return _fail(cause, 2)
    return 0


def _thread_excepthook(raised: threading.ExceptHookArgs) -> None:
    """Omit the traceback of a user's error: on a full disk, TensorBoard's thread fails too, and the main thread reports it."""
    if raised.exc_value is None or user_error(raised.exc_value) is None:
        threading.__excepthook__(raised)


def _fail(message: object, code: int) -> int:
    print(f"monai_tl: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
