"""The `coun` command, also as `python -m coun`."""

import io
import os
import signal
import sys


def main() -> int:
    """Run the command line; return the exit code. No interrupt shows a traceback.

    A name that the encoding of the terminal lacks is printed with escapes.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)  # until the command line is imported
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error is from the start
    from coun.cli import main as run
    from coun.cli import process

    process.stop_on_signals()
    return run()


def _stop(*_: object) -> None:
    os.write(2, b"coun: interrupted; nothing was changed\n")
    os._exit(130)


if __name__ == "__main__":
    sys.exit(main())
