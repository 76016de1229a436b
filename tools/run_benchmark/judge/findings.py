"""What the judge found, and the verdict that follows from it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

Verdict = Literal["ok", "incorrect", "suspicious", "rejected", "invalid", "inconclusive"]
# The first of these that was found decides.
ORDER: tuple[Verdict, ...] = ("invalid", "rejected", "incorrect", "suspicious", "inconclusive")
MOST_REASONS = 12


@dataclass(frozen=True)
class Finding:
    """One thing that was found, why it matters, and the verdict it calls for."""

    verdict: Verdict
    family: str
    reason: str
    # Whether nothing but a time speaks for it, which other work on the machine can feign.
    timed: bool = False


@dataclass
class Findings:
    """Everything found in one job. Notes are worth reading but change no verdict."""

    found: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, verdict: Verdict, family: str, reason: str, timed: bool = False) -> None:
        """Add a finding, once."""
        finding = Finding(verdict, family, reason, timed)
        if finding not in self.found:
            self.found.append(finding)

    def note(self, text: str) -> None:
        """Add a note, once."""
        if text not in self.notes:
            self.notes.append(text)

    def allow_for_noise(self) -> None:
        """Where the machine was found not to be quiet, what only a time speaks for is inconclusive."""
        if self.count("inconclusive"):
            self.found = [replace(f, verdict="inconclusive") if f.timed else f for f in self.found]

    def count(self, *verdicts: Verdict) -> int:
        """How many findings call for one of these verdicts."""
        return sum(finding.verdict in verdicts for finding in self.found)

    def verdict(self) -> Verdict:
        """The gravest verdict that any finding calls for."""
        found = {finding.verdict for finding in self.found}
        return next((verdict for verdict in ORDER if verdict in found), "ok")

    def reasons(self) -> list[str]:
        """Reasons, those of the verdict first."""
        ranked = sorted(self.found, key=lambda f: ORDER.index(f.verdict))
        return [f.reason for f in ranked[:MOST_REASONS]]

    def as_data(self) -> dict[str, Any]:
        """For the report."""
        return {"findings": [vars(f) for f in self.found], "notes": self.notes}
