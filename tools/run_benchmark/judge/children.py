"""The judge's side of a child: start it in its sandbox, ask, wait no longer than agreed, end it for good."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from .arena import Arena
from .wire import Message, Wire, WireBrokenError, WireClosedError, WireTimeoutError

KEPT_OUTPUT = 64 << 10
FLOOD_BYTES = 64 << 20
# All that one child may hold in memory shared with the judge, as a share of this host's, and how often that is looked at.
MOST_SHARED = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
WATCH_S = 0.2
LIMITS = {201: "memory", 202: "processes", 203: "time", 204: "cancelled"}


class ChildFailedError(Exception):
    """A child is gone or useless. `how`: exited, signal, memory, processes, time, output, protocol."""

    def __init__(self, role: str, how: str, detail: str) -> None:
        super().__init__(f"{role}: {detail}")
        self.role, self.how, self.detail = role, how, detail


class ChildRaisedError(Exception):
    """A child answered that the agent's code raised: `kind` is the exception's type, `trace` its traceback's end."""

    def __init__(self, role: str, kind: str, text: str, trace: str) -> None:
        super().__init__(f"{kind}: {text}" if text else kind)
        self.role, self.kind, self.text, self.trace = role, kind, text, trace


class Child:
    """One child process behind its sandbox. Its arenas and its pipes are all that it shares with the judge."""

    def __init__(self, role: str, command: Sequence[str], arenas: Sequence[Arena]) -> None:
        self.role = role
        # Whether the judge stays awake for its answers when it takes the time.
        self.watched = False
        self.pids: list[int] = []
        ours_read, theirs_write = os.pipe()
        theirs_read, ours_write = os.pipe()
        fds = [theirs_read, theirs_write, *(arena.fd for arena in arenas)]
        self.process = subprocess.Popen(
            [*command, ",".join(map(str, fds))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=fds,
        )
        os.close(theirs_read)
        os.close(theirs_write)
        self.wire = Wire(ours_read, ours_write)
        assert self.process.stdout is not None
        self.output = Output(self.process.stdout, self.process.terminate)
        self.ended = threading.Event()
        self.hoard = Hoard(arenas, self.process.terminate, self.ended)

    def ask(self, do: str, timeout_s: float, **what: Any) -> Message:
        """Have the child do something; its answer. Raises `ChildFailedError` and `ChildRaisedError`."""
        self.send(do, **what)
        return self.answer(timeout_s)

    def send(self, do: str, **what: Any) -> None:
        """Ask without waiting; `answer` waits."""
        self.nonce = secrets.token_hex(8)
        try:
            self.wire.send({"id": self.nonce, "do": do, **what})
        except WireClosedError:
            raise self._gone() from None

    def answer(self, timeout_s: float, awake: bool = False) -> Message:
        """The answer to the last `send`; `awake` as in `Wire.receive`."""
        try:
            reply = self.wire.receive(time.monotonic() + timeout_s, awake)
        except WireTimeoutError:
            self.close()
            raise ChildFailedError(self.role, "time", f"did not answer within {timeout_s:.0f} s") from None
        except WireClosedError:
            raise self._gone() from None
        except WireBrokenError as error:
            self.close()
            raise ChildFailedError(self.role, "protocol", f"sent {error} to the judge") from None
        if reply.get("id") != self.nonce:
            self.close()
            raise ChildFailedError(self.role, "protocol", "answered something it was not asked")
        if "error" in reply:
            raised = reply["error"]
            raise ChildRaisedError(self.role, *(str(raised.get(k, "")) for k in ("kind", "text", "trace")))
        return reply

    def _gone(self) -> ChildFailedError:
        try:
            code = self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.close()
            return ChildFailedError(self.role, "protocol", "closed its connection to the judge")
        self.close()
        if self.hoard.overfull:
            return ChildFailedError(self.role, "memory", "filled the memory that it shares with the judge")
        if self.output.flooded:
            return ChildFailedError(self.role, "output", "printed without end")
        if code in LIMITS:
            words = {"memory": "used more memory than allowed", "processes": "started more processes than allowed"}
            return ChildFailedError(self.role, LIMITS[code], words.get(LIMITS[code], "ran out of time"))
        signal = code - 128 if code > 128 else -code if code < 0 else 0
        tail = self.output.tail()
        detail = f"died of signal {signal}" if signal else f"ended its process with status {code}"
        return ChildFailedError(self.role, "signal" if signal else "exited", detail + (f": {tail}" if tail else ""))

    def cpu_seconds(self) -> float:
        """Processor time that everything in this child has used so far, as the kernel counts it."""
        if not self.pids:
            self.pids = below(self.process.pid)
        return sum(map(thread_seconds, self.pids))

    def all_seconds(self, fresh: bool = False) -> float:
        """Processor time of this child and all that it started, ended ones too, in steps of 10 ms.

        `fresh` looks for processes that it started since the last look.
        """
        if fresh or not self.pids:
            self.pids = below(self.process.pid)
        return sum(map(process_seconds, self.pids))

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def close(self) -> None:
        """End it and everything it started."""
        self.ended.set()
        if self.alive:
            self.process.terminate()
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def below(pid: int) -> list[int]:
    """Processes that came of `pid`, itself included."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def thread_seconds(pid: int) -> float:
    """Processor time of all living threads of one process."""
    total = 0
    with contextlib.suppress(OSError, ValueError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def process_seconds(pid: int) -> float:
    """Processor time of one process, its ended threads and the children that it waited for included."""
    with contextlib.suppress(OSError, ValueError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return 0.0


class Hoard(threading.Thread):
    """Watches what a child writes into shared memory, which is no process's own, and ends the child where it is too much."""

    def __init__(self, arenas: Sequence[Arena], end: Callable[[], None], ended: threading.Event) -> None:
        super().__init__(daemon=True)
        # Descriptors of its own: those of an arena may be closed and used for something else.
        self.fds = [os.dup(arena.fd) for arena in arenas]
        self.end, self.ended, self.overfull = end, ended, False
        self.start()

    def run(self) -> None:
        while not self.ended.wait(WATCH_S) and not self.overfull:
            if sum(os.fstat(fd).st_blocks * 512 for fd in self.fds) > MOST_SHARED:
                self.overfull = True
                self.end()
        for fd in self.fds:
            os.close(fd)


class Output(threading.Thread):
    """Drains what a child prints and keeps its end; ends the child when it prints more than any honest program."""

    def __init__(self, pipe: IO[bytes], end: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self.pipe, self.end, self.kept, self.total = pipe, end, bytearray(), 0
        self.start()

    def run(self) -> None:
        while chunk := os.read(self.pipe.fileno(), 1 << 16):
            self.total += len(chunk)
            self.kept = (self.kept + chunk)[-KEPT_OUTPUT:]
            if self.flooded:
                self.end()

    @property
    def flooded(self) -> bool:
        """Whether it printed more than any honest program."""
        return self.total > FLOOD_BYTES

    def tail(self, limit: int = 600) -> str:
        """The last words."""
        return bytes(self.kept[-limit:]).decode(errors="replace").strip()
