"""Where the command begins. Ctrl-C ends it with one line from here on, also while modules are imported."""

import _signal as signal  # the module signal imports others, and Ctrl-C during that would print a trace
import os
import sys

INTERRUPTED = 130  # exit code


def _end(number: int, frame: object) -> None:
    signals = sys.modules.get("oneshot.runs.signals")
    if not getattr(signals, "said", False):  # else the process is on its way out, and has said why
        try:
            os.write(2, b"interrupted\n")
        except OSError:  # nobody listens
            pass
    os._exit(INTERRUPTED)


if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    try:
        signal.signal(signal.SIGINT, _end)
    except ValueError:  # not in the main thread
        pass


def main() -> None:
    """Run what the command line asks for."""
    from . import main, streams  # here, after the handler above

    streams.survive()
    main.main()


def script(path: str) -> None:
    """Run the command that a file of scripts/ is named after.

    Args:
        path: Path of the file.
    """
    from . import main, streams

    streams.survive()
    main.script(path, sys.argv[1:])
