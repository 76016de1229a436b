"""Whether a time can be believed, judged on samples as they came."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from kernelwright_judge.believable import judge_times
from kernelwright_judge.clock import Samples
from kernelwright_judge.findings import Findings

# What a kernel that cannot be captured took on a GPU, made call by call: at another pace in each place.
JUDGE = [36e-6] * 4 + [44e-6] * 8


def families(samples: Samples) -> set[str]:
    """The families of what these samples say against a candidate of which nothing else is known."""
    trial = SimpleNamespace(device="cuda", findings=Findings(), request={"cache_bytes": 1, "peak_flops": {}}, method={})
    times = {"sets": 1, "bytes": 0, "declared": False, "operations": 0}
    judge_times(trial, SimpleNamespace(config=SimpleNamespace(dtype="float32"), times=times), samples)  # type: ignore[arg-type]
    return {finding.family for finding in trial.findings.found}


def test_events_that_agree_in_each_sample_agree_whatever_the_places_take() -> None:
    assert families(Samples(judge=JUDGE, events=JUDGE, moved=[4])) == set()


@pytest.mark.parametrize("apart", [0.9, 1.1])
def test_events_that_differ_in_each_sample_are_no_noise(apart: float) -> None:
    assert families(Samples(judge=JUDGE, events=[apart * s for s in JUDGE], moved=[4])) == {"clock"}


def test_replays_that_were_not_made_are_told() -> None:
    assert families(Samples(judge=[1e-5] * 8, events=[1e-5] * 8, miscounted=1)) == {"skipped calls"}
