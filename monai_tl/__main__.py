"""``python -m monai_tl`` and the ``monai_tl`` command."""

from __future__ import annotations

import os
import sys
import threading
import warnings

from monai_tl.errors import PartlyDoneError, user_error
from monai_tl.storage.cores import thread_settings
from monai_tl.storage.streams import print_anything


def main() -> int:
    """Run a verb; what is wrong with the input is told in a line, exit code 2 (1 where some of the cases are done)."""
    warnings.simplefilter("ignore")  # of the libraries beneath, about things that no user of a verb can change
    threading.excepthook = _of_a_thread
    print_anything()
    os.environ.update(thread_settings())
    from monai_tl import cli  # torch and MONAI take seconds: not before they are needed
    from monai_tl.cli import dispatch

    try:
        dispatch.run(cli.VERBS, sys.argv[1:])
    except KeyboardInterrupt:
        return _say("interrupted; what was finished is kept", 130)
    except PartlyDoneError as error:
        return _say(error, 1)
    except Exception as error:
        cause = user_error(error)
        if cause is None:
            raise  # a fault of ours: its traceback is what we need to mend it
        return _say(cause, 2)
    return 0


def _of_a_thread(raised: threading.ExceptHookArgs) -> None:
    """TensorBoard's writer fails in a thread of its own where the disk is full; the main one says so."""
    if raised.exc_value is None or user_error(raised.exc_value) is None:
        threading.__excepthook__(raised)


def _say(message: object, code: int) -> int:
    print(f"monai_tl: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
