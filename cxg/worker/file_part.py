"""Part of a file that is being sent to a client."""

from __future__ import annotations

import errno
import os
import socket
from typing import IO


class FilePart:
    """Sends part of a file without reading it, through its own file descriptor."""

    def __init__(self, file: IO[bytes], offset: int, count: int) -> None:
        self.descriptor, self.offset, self.count = os.dup(file.fileno()), offset, count

    def send(self, sock: socket.socket) -> int:
        """Send as much as the socket accepts; return the number of bytes.

        Raises
        ------
        OSError
            The socket accepts nothing now, or the client or the rest of the file is gone.
        """
        sent = os.sendfile(sock.fileno(), self.descriptor, self.offset, self.count)
        if sent == 0:
            raise BrokenPipeError(errno.EPIPE, "the file has become shorter")
        self.offset += sent
        self.count -= sent
        return sent

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.descriptor)
