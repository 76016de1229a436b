"""Messages between judge and child: JSON objects, each behind its length, over a pair of pipes."""

from __future__ import annotations

import json
import os
import select
import struct
import time
from typing import Any

HEAD = struct.Struct("<I")
# A child cannot make the judge hold more than this of one message.
LONGEST = 16 << 20

Message = dict[str, Any]


class WireClosedError(Exception):
    """The other side is gone."""


class WireTimeoutError(Exception):
    """The other side did not answer in time."""


class WireBrokenError(Exception):
    """What came is no message."""


class Wire:
    """One end of the pair: reads from one descriptor, writes to the other."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self.read_fd, self.write_fd = read_fd, write_fd
        os.set_inheritable(read_fd, False)
        os.set_inheritable(write_fd, False)

    def send(self, message: Message) -> None:
        """Send one message; raises `WireClosedError`."""
        data = json.dumps(message).encode()
        view = memoryview(HEAD.pack(len(data)) + data)
        try:
            while view:
                view = view[os.write(self.write_fd, view) :]
        except OSError:
            # Gone, or its own side was closed under it.
            raise WireClosedError from None

    def receive(self, deadline: float | None = None, awake: bool = False) -> Message:
        """The next message; `deadline` is on `time.monotonic`. Raises one of the three errors above.

        With `awake` and a deadline this process keeps its processor while it waits: one that sleeps for some milliseconds
        takes up to a tenth of one to wake.
        """
        if awake and deadline is not None:
            while time.monotonic() < deadline and not select.select([self.read_fd], [], [], 0)[0]:
                pass
        (length,) = HEAD.unpack(self._read(HEAD.size, deadline))
        if length > LONGEST:
            raise WireBrokenError(f"a message of {length} bytes")
        try:
            message = json.loads(self._read(length, deadline))
        except (ValueError, RecursionError):
            raise WireBrokenError("a message that is no JSON") from None
        if not isinstance(message, dict):
            raise WireBrokenError("a message that is no object")
        return message

    def _read(self, count: int, deadline: float | None) -> bytes:
        data = bytearray()
        while len(data) < count:
            if deadline is not None:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([self.read_fd], [], [], left)[0]:
                    raise WireTimeoutError
            chunk = os.read(self.read_fd, count - len(data))
            if not chunk:
                raise WireClosedError
            data += chunk
        return bytes(data)

    def close(self) -> None:
        """Close both descriptors."""
        os.close(self.read_fd)
        os.close(self.write_fd)
