"""The witness by itself: a call that was left out is seen at every round, and results are left as the calls wrote them."""

from __future__ import annotations

from collections.abc import Callable

import court  # noqa: F401
import pytest
import torch
from kernelwright_judge.machine import Cpu, Track
from kernelwright_judge.values import tensors
from kernelwright_judge.witness import Look, Ranges, Room, Witness, telling

DTYPES = [torch.float32, torch.bfloat16, torch.float64, torch.int32, torch.int64]
Sets = list[tuple[torch.Tensor, ...]]


def sets_of(dtype: torch.dtype, count: int = 5) -> Sets:
    """Sets of one argument each."""
    return [((torch.randn(7, 9) * 100).to(dtype),) for _ in range(count)]


def replay(witness: Witness, into: Sets, sets: Sets, leave_out: int = -1) -> None:
    """What a graph does: the calls, which write to where they always write, and the witness's step."""
    for number, ((out,), (x,)) in enumerate(zip(into, sets, strict=True)):
        if number != leave_out:
            out.copy_(x * 2)
    witness.step()
    witness.replayed()


@pytest.mark.parametrize("dtype", DTYPES)
def test_witness_sees_a_call_left_out_of_one_replay_among_many(dtype: torch.dtype) -> None:
    sets, into = sets_of(dtype), sets_of(dtype)
    witness = Witness(into, Ranges(tensors(sets)), Room(sum(map(len, into)), "cpu"))
    witness.aim()
    for left_out in (-1, -1, 3, -1):
        replay(witness, into, sets, left_out)
    # Overwritten in one replay in three, in at most as many places as one set has.
    assert 0 < witness.settle() <= sum(len(p.firsts) for p in witness.places) // len(sets)
    assert all(torch.equal(out, x * 2) for (out,), (x,) in zip(into, sets, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
def test_honest_replays_leave_nothing_and_results_are_whole(dtype: torch.dtype) -> None:
    sets, into = sets_of(dtype), sets_of(dtype)
    witness = Witness(into, Ranges(tensors(sets)), Room(sum(map(len, into)), "cpu"))
    for _ in range(3):
        witness.aim()
        assert witness.aimed
        replay(witness, into, sets)
        assert not all(torch.equal(out, x * 2) for (out,), (x,) in zip(into, sets, strict=True))
        assert witness.settle() == 0
        assert all(torch.equal(out, x * 2) for (out,), (x,) in zip(into, sets, strict=True))
    assert witness.settle() == 0


def test_what_others_share_is_not_touched() -> None:
    x, constant, own = torch.randn(8), torch.arange(4.0), [torch.zeros(3), torch.zeros(3)]
    results = [(x.view(2, 4), constant, own[0], torch.ones(2, dtype=torch.bool)), (constant.view(2, 2), own[1].view(3, 1))]
    told = telling(results, Ranges([x]))
    assert [[t.data_ptr() for t in result] for result in told] == [[own[0].data_ptr()], [own[1].data_ptr()]]
    turned, gaps = torch.zeros(3, 4).t(), torch.zeros(3, 4)[:, :2]
    assert telling([(turned, gaps)], Ranges(())) == [[turned]]


def test_ranges_hold_what_lies_in_them() -> None:
    block = torch.zeros(100)
    ranges = Ranges([block, block[10:20], torch.zeros(0)])
    assert ranges.hold(block.data_ptr()) and ranges.hold(block[50:].data_ptr())
    assert not ranges.hold(block.data_ptr() - 1) and not ranges.hold(block.data_ptr() + 400)
    assert not Ranges(()).hold(block.data_ptr())


def looked_at(call: Callable[[torch.Tensor], torch.Tensor], rounds: int = 12) -> int:
    """At how many places the looks at some batches of `rounds` rounds find results unwritten."""
    sets, track = sets_of(torch.float32), Track(call)
    machine = Cpu()
    machine.capture(track, sets)
    # The first round of a batch shows less than the others, and which one is looked at is drawn.
    for _ in range(6):
        machine.rounds(track, sets, rounds)
    assert track.looks == 7
    return track.left


def test_look_sees_results_that_are_returned_again() -> None:
    kept: dict[int, list[torch.Tensor]] = {}

    def two_in_turn(x: torch.Tensor) -> torch.Tensor:
        two = kept.setdefault(x.data_ptr(), [])
        if len(two) < 2:
            two.append(x * 2)
        two.reverse()
        return two[0]

    assert looked_at(two_in_turn) > 0
    assert looked_at(lambda x: x * 2) == 0


def test_look_passes_results_that_are_written_again_and_constants() -> None:
    places: dict[int, torch.Tensor] = {}
    constant = torch.randn(5)

    def in_place(x: torch.Tensor) -> torch.Tensor:
        return torch.mul(x, 2, out=places.setdefault(x.data_ptr(), torch.empty_like(x)))

    assert looked_at(in_place) == 0
    before = constant.clone()
    assert looked_at(lambda x: constant) == 0
    assert torch.equal(constant, before)


def test_look_passes_a_short_result_where_a_long_one_lay() -> None:
    lying = torch.randn(1 << 20)
    look = Look(1, Ranges(()))
    look.remember([(lying,)])
    look.poke([(lying,)])
    assert look.left([(lying[:1],)]) == 0


def test_look_keeps_nothing_alive() -> None:
    results = [(torch.randn(1000),) for _ in range(3)]
    look = Look(3, Ranges(()))
    look.remember(results)
    address = results[0][0].data_ptr()
    del results
    look.poke([(torch.zeros(5),) for _ in range(3)])
    assert address not in look.poked


@pytest.mark.parametrize("results", [1, 7, 600])
def test_the_notes_of_a_witness_lie_in_the_room_made_for_them(results: int) -> None:
    into = [[torch.randn(100).to(dtype) for dtype in (torch.float32, torch.float16, torch.float64)] for _ in range(results)]
    room = Room(3 * results, "cpu")
    within = Ranges([room.memory])
    for places in Witness(into, Ranges(()), room).places:
        for notes in (places.where, places.values, places.pattern, places.same, places.left):
            assert within.hold(notes.data_ptr())
            assert within.hold(notes.data_ptr() + notes.numel() * notes.element_size() - 1)
    assert room.taken <= room.memory.numel()
