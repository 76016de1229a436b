"""The judge's parts by themselves: errors and tolerances, intervals, arenas, messages, variations, verdicts."""

from __future__ import annotations

import math
import os
import time
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernelwright_judge.arena import ALIGN, Arena, BadDescriptorError
from kernelwright_judge.clock import Samples
from kernelwright_judge.compare import Tolerance, lower_precision, measure, tolerance, trivial_answers
from kernelwright_judge.findings import Findings
from kernelwright_judge.intervals import geometric_mean, mean_of_medians
from kernelwright_judge.judge import shares
from kernelwright_judge.machine import Track, digests
from kernelwright_judge.profiled import Span, covered, parted
from kernelwright_judge.shares import IDLE, LIBRARY, _foreign, _share
from kernelwright_judge.subject import Subject
from kernelwright_judge.values import UntransportableError, pack, unpack
from kernelwright_judge.variations import DISTRIBUTIONS, distribute, disturb, exchange
from kernelwright_judge.wire import Wire, WireBrokenError, WireClosedError, WireTimeoutError

HALVES = [torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", HALVES)
def test_rounding_once_passes_and_one_step_lower_does_not(dtype: torch.dtype) -> None:
    exact = torch.randn(64, 256, dtype=torch.float64)
    allowed = tolerance(measure(exact.to(dtype), exact, dtype), dtype, None)
    assert allowed.admits(measure(exact.to(dtype), exact, dtype))
    lowered = lower_precision(exact, dtype)
    assert lowered is not None
    assert not allowed.admits(measure(lowered.to(dtype), exact, dtype))


def test_one_bad_element_among_a_million_is_seen() -> None:
    exact = torch.randn(1 << 20, dtype=torch.float64)
    got = exact.float()
    allowed = tolerance(measure(got, exact, torch.float32), torch.float32, None)
    got[777_777] += 0.01
    assert not allowed.admits(measure(got, exact, torch.float32))


def test_nan_and_infinities_must_be_in_their_places() -> None:
    exact = torch.tensor([1.0, math.nan, math.inf, -math.inf, 1e39], dtype=torch.float64)
    assert measure(exact.float(), exact, torch.float32).misplaced == 0
    for wrong in ([1, 1, math.inf, -math.inf, math.inf], [1, math.nan, -math.inf, -math.inf, math.inf], [math.nan] * 5):
        assert measure(torch.tensor(wrong, dtype=torch.float32), exact, torch.float32).misplaced > 0


def test_integers_must_be_equal() -> None:
    exact = torch.arange(10)
    assert tolerance(measure(exact, exact, torch.int64), torch.int64, None).admits(measure(exact, exact, torch.int64))
    assert not Tolerance(0, 0).admits(measure(exact + (exact == 3), exact, torch.int64))


def test_declared_tolerance_only_tightens() -> None:
    native = measure(torch.randn(100), torch.randn(100, dtype=torch.float64), torch.float32)
    assert tolerance(native, torch.float32, 10.0).worst == tolerance(native, torch.float32, None).worst
    assert tolerance(native, torch.float32, 1e-9).worst == 1e-9


def test_trivial_answers_are_zeros_inputs_and_means() -> None:
    given_inputs = [torch.randn(4, 4), torch.randn(4), torch.arange(4)]
    found = trivial_answers(given_inputs, torch.randn(4, 4, dtype=torch.float64))
    assert set(found) == {"zeros", "argument 0 itself", "the mean of argument 0", "the mean of argument 1"}


PLACE = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=20)


@given(st.lists(PLACE, min_size=1, max_size=4))
@settings(deadline=None, max_examples=40)
def test_interval_holds_its_middle(places: list[list[float]]) -> None:
    middle, low, high = mean_of_medians(places)
    values = [value for place in places for value in place]
    # A mean of equal numbers may differ from them in the last digit.
    assert min(values) * (1 - 1e-12) <= low <= middle <= high <= max(values) * (1 + 1e-12)


def test_places_weigh_alike_and_widen_the_interval() -> None:
    one, two = [1.0, 1.01, 0.99], [2.0, 2.0, 2.0, 2.0, 2.0]
    assert mean_of_medians([one])[0] == 1.0
    middle, low, high = mean_of_medians([one, two])
    assert middle == pytest.approx(1.5) and low < 1.05 and high > 1.95


def test_samples_kept_from_the_processors_do_not_count() -> None:
    samples = Samples(judge=[1.0, 9.0, 1.1, -4.0, 1.2, 1.05], stretch=[1.0, 8.0, 1.1, 6.0, 1.2, 1.0])
    assert [sorted(place) for place in samples.places()] == [[1.0, 1.05, 1.1, 1.2]]
    assert samples.summary()[0] == pytest.approx(1.075)
    busy = Samples(judge=[1.0, 5.0, 6.0, 7.0], stretch=[1.0, 5.0, 6.0, 7.0])
    assert busy.places() == [[1.0, 5.0, 6.0]]
    assert Samples(judge=[3.0, 4.0]).places() == [[3.0, 4.0]]


def test_samples_are_kept_by_place() -> None:
    samples = Samples()
    for place in ([1.0, 3.0, 2.0], [8.0], [4.0, 4.0]):
        if samples.judge:
            samples.move()
        samples.judge += place
    samples.move()
    assert samples.places() == [[1.0, 3.0, 2.0], [8.0], [4.0, 4.0]]
    assert samples.summary()[0] == pytest.approx(14 / 3)


def test_few_outlying_samples_on_a_gpu_are_left_out() -> None:
    # As seen on a host with other work: two samples on end fell short, one by more than all of it.
    judge = [34.2, 34.3, 34.1, 34.2, 26.4, -1.4, 34.0, 34.1, 34.3, 34.2, 34.2, 34.1]
    samples = Samples(judge=judge, events=[34.2] * 12, moved=[4, 8])
    assert samples.places() == [judge[:4], [34.0, 34.1], judge[8:]]
    assert samples.summary()[0] == pytest.approx(34.15, abs=0.05)
    two_speeds = Samples(judge=[1.0, 1.0, 2.0, 2.0, 1.0, 2.0, 1.0, 1.0], events=[1.0] * 8)
    assert two_speeds.places() == [two_speeds.judge]
    assert two_speeds.scatter() > 0.05


def test_rows_are_shared_without_loss() -> None:
    rows = list(range(16))
    parts = shares(rows, 3)
    assert [row for part in parts for row in part] == rows and sorted(map(len, parts)) == [5, 5, 6]
    assert shares(rows[:1], 3) == [[], [], [0]]


def test_sets_that_are_moved_are_the_same_in_other_memory() -> None:
    class Ignored:
        def put(self, tensor: torch.Tensor) -> None:
            """Nothing."""

    subject = Subject(Ignored(), Ignored())
    subject.sets = subject.prepared = [(torch.full((4,), float(index)), index) for index in range(3)]
    subject.tracks["candidate"] = track = Track(lambda t, number: t + number, looks=5, left=1)
    old = {t.data_ptr() for t, _ in subject.sets}
    subject.move([2, 0, 1])
    assert [(t.tolist(), number) for t, number in subject.prepared] == [([n] * 4, n) for n in (2, 0, 1)]
    assert not old & {t.data_ptr() for t, _ in subject.sets}
    assert (track.looks, track.left, track.returned) == (5, 1, [])


def test_geometric_mean() -> None:
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4.0)
    assert geometric_mean([]) is None


@pytest.mark.parametrize("dtype", [*HALVES, torch.float64, torch.int32, torch.bool, torch.uint8])
def test_tensors_go_through_an_arena(dtype: torch.dtype) -> None:
    arena = Arena.create("test")
    tensor = (torch.randn(3, 5) * 10).to(dtype)
    values = (tensor, tensor.t(), tensor[:, ::2], torch.empty(0, 4), 1.5, 3, None, "x", True, [1, (2.5, None)], torch.float16)
    found = [unpack(pack(value, arena), arena, "cpu") for value in values]
    for value, back in zip(values, found, strict=True):
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, back)
        else:
            assert value == back and type(value) is type(back)
    assert found[1].stride() == tensor.t().stride()
    arena.close()


def test_what_cannot_be_handed_over_is_refused() -> None:
    arena = Arena.create("test")
    with pytest.raises(UntransportableError):
        pack(object(), arena)
    arena.close()


@given(
    st.fixed_dictionaries(
        {"offset": st.integers() | st.text(), "shape": st.lists(st.integers()) | st.none(), "dtype": st.text()}
    )
)
@settings(deadline=None, max_examples=60)
def test_forged_descriptors_are_refused(found: dict[str, Any]) -> None:
    arena = Arena.create("test")
    with pytest.raises(BadDescriptorError):
        arena.get(found)
    arena.close()


def test_descriptor_beyond_the_arena_is_refused() -> None:
    arena = Arena.create("test")
    for forged in ({"offset": 1, "shape": [1]}, {"offset": -ALIGN, "shape": [1]}, {"offset": 0, "shape": [1 << 39, 1 << 39]}):
        with pytest.raises(BadDescriptorError):
            arena.get({**forged, "dtype": "float32"})
    arena.close()


def pipes() -> tuple[Wire, Wire]:
    a, b = os.pipe(), os.pipe()
    return Wire(a[0], b[1]), Wire(b[0], a[1])


def test_messages_go_both_ways_until_closed() -> None:
    one, two = pipes()
    one.send({"do": "x", "text": "ü" * 1000})
    assert two.receive(time.monotonic() + 5)["text"] == "ü" * 1000
    one.send({"do": "y"})
    assert two.receive(time.monotonic() + 5, awake=True) == {"do": "y"}
    for awake in (False, True):
        with pytest.raises(WireTimeoutError):
            two.receive(time.monotonic() + 0.01, awake)
    one.close()
    with pytest.raises(WireClosedError):
        two.receive(time.monotonic() + 5)
    two.close()


@given(st.binary(min_size=4, max_size=64))
@settings(deadline=None, max_examples=60)
def test_any_bytes_are_read_as_a_message_or_refused(data: bytes) -> None:
    one, two = pipes()
    os.write(one.write_fd, data)
    one.close()
    with pytest.raises((WireBrokenError, WireClosedError)):
        two.receive(time.monotonic() + 5)
        raise WireBrokenError("a whole message by chance")
    two.close()


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_distributions_repeat_by_seed_and_leave_weights(kind: str) -> None:
    x, w = torch.randn(64, 64), torch.randn(64)
    one, two = distribute((x, w, 3), kind, 5), distribute((x, w, 3), kind, 5)
    assert torch.equal(one[0], two[0]) and one[1] is w and one[2] == 3
    assert (kind == "normal") == torch.equal(one[0], x)


def test_disturbed_arguments_change_within_their_kind() -> None:
    args = (torch.randn(8), torch.arange(8), 1e-6, "mode")
    changed = [disturb(args, index, 1) for index in range(4)]
    assert changed[0] is not None and not torch.equal(changed[0][0], args[0])
    assert changed[1] is not None and sorted(changed[1][1].tolist()) == list(range(8))
    assert changed[2] is not None and changed[2][2] == pytest.approx(1.5e-6)
    assert changed[3] is None


@pytest.mark.parametrize("seed", [8, 9])
def test_exchange_changes_data_and_little_of_weights_the_same_way_everywhere(seed: int) -> None:
    base = (torch.randn(100, 100), torch.randn(100), torch.arange(100))
    one, two = (tuple(t.clone() for t in base) for _ in range(2))
    exchange(one, seed)
    exchange(two, seed)
    assert all(map(torch.equal, one, two))
    changed = int((one[0] != base[0]).sum())
    assert changed > 9_000 if seed % 2 else 0 < changed <= 64
    assert 0 < int((one[1] != base[1]).sum()) <= 64
    assert torch.equal(one[2], base[2])
    assert set(one[0].flatten().tolist()) <= set(base[0].flatten().tolist())


def test_digests_tell_results_apart() -> None:
    a, b = torch.randn(33, 7), torch.randn(33, 7)
    assert digests([[a]], 5) == digests([[a.clone()]], 5) != digests([[b]], 5)
    assert digests([], 0) == []


def test_overlapping_spans_count_once() -> None:
    assert covered([(0, 10), (5, 12), (20, 21)]) == 13


def test_what_came_behind_the_last_mark_was_replayed() -> None:
    names = ["rows", "at::cuda::spin_kernel(long)", "rows", "void at::cuda::spin_kernel(long)", "sum"]
    spans = [Span(name, float(index), index + 0.5) for index, name in enumerate(names)]
    assert [[span.name for span in part] for part in parted(spans)] == [names[:3], ["sum"]]
    assert parted(spans[:1]) == (spans[:1], [])


def test_kernels_of_torch_are_known_by_their_names() -> None:
    names = {
        "void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float>>(float)": True,
        "void at::native::vectorized_elementwise_kernel<4, at::native::BinaryFunctor<float, MulFunctor>>": True,
        "void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<float>>": False,
        "void at::native::unrolled_elementwise_kernel<at::native::direct_copy_kernel_cuda(at::TensorIteratorBase&)>": False,
        "nvjet_tst_128x64": True,
        "Memcpy DtoD": False,
        "rows(float const*, float*)": False,
    }
    found = _foreign([{"name": name, "calls": 1, "us": 1.0} for name in names])
    assert [row["name"] for row in found] == [name for name, foreign in names.items() if foreign]
    assert _share([{"name": "rows", "us": 3.0}, {"name": "nvjet", "us": 1.0}, {"name": "Memset", "us": 9.0}], 0.5) == 0.25


def test_operators_and_libraries_are_told_apart() -> None:
    assert IDLE.match("aten::empty_like") and not IDLE.match("aten::mul")
    assert LIBRARY.search("nvjet_tst_128x64") and LIBRARY.search("void cublasLt::splitK<float>")
    assert not LIBRARY.search("void cutlass::device_kernel<mine>")


def test_gravest_finding_decides_and_speaks_first() -> None:
    findings = Findings()
    assert findings.verdict() == "ok"
    findings.add("inconclusive", "noise", "noisy")
    findings.add("rejected", "clock", "lied")
    findings.add("rejected", "clock", "lied")
    assert findings.verdict() == "rejected"
    assert findings.reasons() == ["lied", "noisy"]


@pytest.mark.parametrize(
    ("noise", "timed", "verdict"), [(True, True, "inconclusive"), (True, False, "rejected"), (False, True, "rejected")]
)
def test_a_time_alone_rejects_nothing_on_a_noisy_machine(noise: bool, timed: bool, verdict: str) -> None:
    findings = Findings()
    findings.add("rejected", "clock", "the clocks disagree", timed=timed)
    if noise:
        findings.add("inconclusive", "company", "somebody else copies")
    findings.allow_for_noise()
    assert findings.verdict() == verdict
