"""``python -m monai_tl`` and the ``monai_tl`` command."""

from __future__ import annotations

import sys
import warnings

from monai_tl.errors import USER_ERRORS


def main() -> int:
    """Run a verb; what is wrong with the input is told in a line, exit code 2."""
    warnings.simplefilter("ignore")  # of the libraries beneath, about things that no user of a verb can change
    from monai_tl import arguments, cli  # torch and MONAI take seconds: not before they are needed

    try:
        arguments.run(cli.VERBS, sys.argv[1:])
    except USER_ERRORS as error:
        print(f"monai_tl: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("monai_tl: interrupted; what was finished is kept", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
