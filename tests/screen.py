"""A pseudo-terminal with a program in it, and a person who reads and types there."""

from __future__ import annotations

import os
import re
import select
import signal
import struct
import time
import weakref


class Screen:
    """A program in a terminal of its own, which does not outlive this object."""

    def __init__(self, *command, n_columns=80, **env):
        import fcntl
        import pty
        import termios

        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, n_columns, 0, 0))
            others = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
            os.execvpe(command[0], command, {**others, "TERM": "xterm", **env})
        self._end = weakref.finalize(self, os.kill, self.pid, signal.SIGKILL)
        self.text = ""

    def wait_for(self, pattern, timeout_s=30.0):
        """Reads until `pattern` is seen, and forgets all up to it; seconds it took."""
        start = time.monotonic()
        while not (found := re.search(pattern, self.text)):
            left = start + timeout_s - time.monotonic()
            assert left > 0, f"{pattern!r} not seen in {self.text[-2000:]!r}"
            if select.select([self.fd], [], [], left)[0]:
                new = os.read(self.fd, 65536).decode("utf-8", "replace")
                if "\x1b[6n" in new:  # where is the cursor?
                    os.write(self.fd, b"\x1b[1;1R")
                self.text += new
        self.text = self.text[found.end() :]
        return time.monotonic() - start

    def type(self, text):
        os.write(self.fd, text.encode())

    def exit_code(self, timeout_s=60.0):
        """Waits for the end; what was not waited for stays in `text`."""
        try:
            while select.select([self.fd], [], [], timeout_s)[0]:
                self.text += os.read(self.fd, 65536).decode("utf-8", "replace")
            os.kill(self.pid, signal.SIGKILL)  # it waits for something
        except OSError:  # the other end is closed
            pass
        self._end.detach()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
