"""One run of the compilers for all variants of a call: no core is idle at the end of one, and what they share is made once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from kernelwright.tools.compile_kernel.work import Outcome, Work

# Carries out works and tells of each one's outcome as soon as it is there.
Run = Callable[[Sequence[Work], Callable[[Work, Outcome], None]], None]


class Together:
    """Where the threads of `members` variants meet: `run` gets the works of all, once nobody is waited for any more."""

    def __init__(self, members: int, run: Run) -> None:
        self._awaited = members
        self._run = run
        self._lock = threading.Lock()
        self._works: list[tuple[Work, Future[Outcome]]] = []

    def arrive(self, work: Work | None) -> Future[Outcome]:
        """Count a member, which has `work` to do or none; the future of a work that `run` raises for raises the same."""
        future: Future[Outcome] = Future()
        with self._lock:
            self._works += [(work, future)] if work else []
            self._awaited -= 1
            complete = self._awaited == 0 and self._works
        if complete:
            # Not in this thread: its own variant may be done before the others are.
            threading.Thread(target=self._carry_out).start()
        return future

    def _carry_out(self) -> None:
        def done(work: Work, outcome: Outcome) -> None:
            next(future for known, future in self._works if known is work).set_result(outcome)

        try:
            self._run([work for work, _ in self._works], done)
        except BaseException as error:
            for _, future in self._works:
                if not future.done():
                    future.set_exception(error)


class Seat:
    """A variant's place among them, in a `with` block; to be left as soon as it is known that it has nothing to compile."""

    def __init__(self, together: Together) -> None:
        self._together = together
        self._waited_for = True

    def compile(self, work: Work) -> Outcome:
        """What came of `work`; waits for it."""
        self._waited_for = False
        return self._together.arrive(work).result()

    def leave(self) -> None:
        """Nobody has to wait for this variant any more."""
        if self._waited_for:
            self._waited_for = False
            self._together.arrive(None)

    def __enter__(self) -> Seat:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
