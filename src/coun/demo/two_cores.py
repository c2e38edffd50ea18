"""Two pieces of work beside each other, one of them in a process of its own."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from coun.errors import CounError

First = TypeVar("First")
Tick = Callable[[str], None]
Work = Callable[..., Any]


def side_by_side(
    first: Callable[[Tick], First], second: Work, arguments: dict[str, Any], tick: Tick
) -> tuple[First, Any]:
    """Run *first* here, and *second* in a second process; return both results.

    Args:
        first: takes a `tick`.
        second: a function of a module, which takes *arguments* and `tick`.
        tick: is called here for the steps of both.

    Raises: CounError if the second process ends without a result, and whatever *first* raises.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_in_child, args=(second, arguments, sender), daemon=True)
    _start(child)
    sender.close()
    results: list[Any] = []

    def drain(wait: bool) -> None:
        """Pass on what the other process has sent; with *wait*, until its result is there."""
        try:
            while not results and (wait or receiver.poll()):
                kind, content = receiver.recv()
                if kind == "tick":
                    tick(content)
                elif kind == "error":
                    raise CounError(content)
                else:
                    results.append(content)
        except EOFError:
            raise CounError("the second process of the demonstration was ended") from None

    def noted(note: str) -> None:
        drain(wait=False)
        tick(note)

    try:
        here = first(noted)
        drain(wait=True)
    finally:
        child.terminate()
        child.join()
    return here, results[0]


def _start(child: Any) -> None:
    """Start *child* so that Ctrl-C, which reaches both processes, stops this one alone.

    The other would show a traceback; this one ends it.
    """
    if threading.current_thread() is not threading.main_thread():
        child.start()
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        child.start()
    finally:
        signal.signal(signal.SIGINT, before)


def _in_child(work: Work, arguments: dict[str, Any], sender: Connection) -> None:
    try:
        result = work(**arguments, tick=lambda note: sender.send(("tick", note)))
    except CounError as error:
        sender.send(("error", str(error)))
    else:
        sender.send(("result", result))
