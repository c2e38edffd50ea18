"""The process of a command: exit codes, errors as one line, interrupts."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

import click

from coun.cli.app import BAD_INPUT
from coun.errors import CounError, visible

INTERNAL = 70  # EX_SOFTWARE of sysexits.h
INTERRUPTED = 130
BROKEN_PIPE = 141  # as shells give for SIGPIPE; `coun rows SRC | head` is not an error
RESUMABLE = ("bench", "demo", "fulfil", "prepare", "train", "unlearn")
READING = (["bench", "plan"], ["bench", "list"])  # they write nothing that could be continued


def run(group: click.Group) -> int:
    """Run the command line; the exit code. Bad input is one line and exit code 2."""
    output = sys.stdout
    try:
        os.getcwd()
    except OSError:  # libraries that look for their files would end the process
        _complain("the current folder was deleted; go to one that exists (cd) and try again")
        return BAD_INPUT
    try:
        code = group.main(standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.UsageError as error:
        usage = error.ctx.command_path if error.ctx else "coun"
        _complain(f"{error.format_message()} See '{usage} --help'.")
    except (CounError, click.ClickException) as error:
        _complain(error.format_message() if isinstance(error, click.ClickException) else str(error))
        return error.exit_code if isinstance(error, CounError) else BAD_INPUT
    except (KeyboardInterrupt, click.Abort):
        _complain(_interrupted())
        return INTERRUPTED
    except (BrokenPipeError, SystemExit) as stop:
        # click (which wraps the stream) and rich exit with 1 where the pipe is closed.
        broken = any(isinstance(error, BrokenPipeError) for error in (stop, stop.__context__))
        if not broken and sys.stdout is output:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what is still to be flushed
        return BROKEN_PIPE
    except OSError as error:
        _complain(f"{error.filename or 'the system'}: {error.strerror or error}")
    except Exception as error:
        if os.environ.get("COUN_DEBUG"):
            raise
        _complain(
            f"unexpected {type(error).__name__}: {str(error)[:300]}; this is a fault of coun or of "
            "a plug-in, please report it with the traceback that COUN_DEBUG=1 shows"
        )
        return INTERNAL
    return BAD_INPUT


def stop_on_signals() -> None:
    """Let SIGTERM stop a command as Ctrl-C does, and let neither show a traceback.

    An interrupt while a module is being imported can surface as any exception, or as none. No
    work is in progress then, so that the process ends at once.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_code.co_filename.startswith("<frozen importlib"):
                _complain(_interrupted())
                os._exit(INTERRUPTED)
            frame = frame.f_back
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def _interrupted() -> str:
    """What to say after an interrupt, which depends on what the command leaves behind."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    if words and words[0] in RESUMABLE and words[:2] not in READING:
        return "interrupted; repeat the command to go on from the last checkpoint"
    return "interrupted; nothing was changed"


def _complain(message: str) -> None:
    click.echo(f"coun: {visible(' '.join(message.split()))}", err=True)
