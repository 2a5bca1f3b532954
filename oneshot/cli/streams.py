"""Standard output and errors that nobody reads any more do not end a run."""

import io
import os
import select
import sys


class Surviving(io.RawIOBase):
    """Writes to a file descriptor. Once that fails (a closed pipe, a lost terminal, a full disk), output is dropped.

    Args:
        descriptor: The file descriptor. It is not closed with this object.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self.descriptor

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return os.isatty(self.descriptor)

    def writable(self) -> bool:
        """Return true."""
        return True

    def write(self, content) -> int:  # type: ignore[no-untyped-def, override]
        """Write bytes, or drop them. Returns their number."""
        try:
            return os.write(self.descriptor, content)
        except BlockingIOError:  # a pipe that was set not to block
            select.select([], [self.descriptor], [])
            return 0
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.descriptor)  # also for what C code and child processes write
            os.close(nowhere)
            return len(content)


def survive() -> None:
    """Let print and other writers go on after stdout or stderr is closed, and with characters that they cannot show."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # closed before the start: the next file would get its number, and prints would go there
            os.open(os.devnull, os.O_RDWR)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open_text(descriptor, "utf-8", False))
        elif type(stream) is io.TextIOWrapper and stream.fileno() == descriptor:
            stream.flush()
            setattr(sys, name, open_text(descriptor, stream.encoding, stream.line_buffering))


def open_text(descriptor: int, encoding: str, line_buffering: bool) -> io.TextIOWrapper:
    """Return a text stream that survives, for a file descriptor."""
    writer = io.BufferedWriter(Surviving(descriptor))
    return io.TextIOWrapper(writer, encoding, "backslashreplace", line_buffering=line_buffering)
