"""Architectures: spellings, what an nvcc can, what sources declare."""

from __future__ import annotations

import pytest

from kernelwright.tools.compile_kernel import gpu_archs
from kernelwright.tools.compile_kernel.gpu_archs import Capability, Wanted, chosen, covers, unsupported, wanted
from kernelwright.tools.gpu import Gpu
from kernelwright.tools.tool import ToolError

H200 = Gpu(index=0, name="NVIDIA H200", compute_capability="9.0", memory_bytes=1 << 37, driver="580.1", uuid="GPU-1")


def names(found: tuple[Capability, ...]) -> list[str]:
    return [str(capability) for capability in found]


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_archs.gpu, "devices", lambda: ())


def test_a_capability_becomes_code_for_nvcc() -> None:
    assert Capability.parse("9.0a").gencode() == ["-gencode=arch=compute_90a,code=sm_90a"]
    assert Capability.parse("12.0+PTX").gencode() == [
        "-gencode=arch=compute_120,code=sm_120",
        "-gencode=arch=compute_120,code=compute_120",
    ]
    for text in ("9", "9.0b", "sm_90", "", "9.0 a"):
        with pytest.raises(ToolError):
            Capability.parse(text)


def test_code_runs_where_cuda_says_it_does() -> None:
    def runs(code: str, on: str) -> bool:
        return Capability.parse(code).runs_on(Capability.parse(on))

    assert runs("8.0", "8.6")
    assert not runs("8.6", "8.0")
    assert not runs("8.0", "9.0")
    assert runs("8.0+PTX", "12.0")
    assert runs("9.0a", "9.0")
    assert not runs("10.0a", "10.3")
    assert runs("10.0f", "10.3")


@pytest.mark.parametrize(
    ("capability", "nvcc", "reason"),
    [
        ("10.0", "12.6.85", "needs CUDA 12.8"),
        ("12.1a", "12.8", "needs CUDA 12.9"),
        ("11.0", "12.9", "needs CUDA 13.0"),
        ("7.0", "13.0.88", "removed after CUDA 12.9"),
        ("9.0a", "11.8", "needs CUDA 12.0"),
        ("6.5", "13.0", "not an architecture"),
        ("9.0a", "13.0.88", ""),
        ("7.5", "13.0.88", ""),
        ("7.0", "12.6.85", ""),
    ],
)
def test_each_architecture_is_checked_against_the_compiler(capability: str, nvcc: str, reason: str) -> None:
    found = unsupported(Capability.parse(capability), nvcc)
    assert (reason in found) if reason else found == ""


def test_spellings_stand_for_the_best_target_and_targets_for_themselves() -> None:
    assert names(wanted(["h100"], "13.0", "dev").capabilities) == ["9.0a"]
    assert names(wanted(["9.0"], "13.0", "dev").capabilities) == ["9.0a"]
    assert names(wanted(["sm_90"], "13.0", "dev").capabilities) == ["9.0"]
    assert names(wanted(["sm_90a", "9.0a", "8.0", "a100"], "13.0", "dev").capabilities) == ["9.0a", "8.0"]
    with pytest.raises(ToolError) as caught:
        wanted(["h1000000"], "13.0", "dev")
    assert caught.value.code == "unknown_arch"


def test_what_this_nvcc_cannot_is_refused_when_asked_for_by_name() -> None:
    with pytest.raises(ToolError, match=r"needs CUDA 12\.8"):
        wanted(["b200"], "12.6", "dev")


def test_auto_is_the_gpu_of_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_archs.gpu, "devices", lambda: (H200, H200))
    assert wanted(["auto"], "13.0", "dev") == Wanted((Capability(9, 0, "a"),), False)


def test_auto_without_a_gpu_is_a_list_for_this_nvcc() -> None:
    assert wanted(["auto"], "13.0", "dev").guessed
    release = names(wanted(["auto"], "13.0", "release").capabilities)
    assert release[0] == "7.5"
    assert release[-1] == "12.0+PTX"
    assert names(wanted(["auto"], "12.6", "release").capabilities) == ["7.0", "7.5", "8.0", "8.6", "8.9", "9.0+PTX"]


def pick(declared: list[str], asked: Wanted, nvcc: str = "13.0", mode: str = "dev") -> tuple[list[str], list[str]]:
    found, skipped = chosen(asked, declared, nvcc, "[kernel.x]", mode)
    return names(found), skipped


def test_what_the_sources_declare_is_what_they_are_compiled_for() -> None:
    hopper = Wanted((Capability(9, 0, "a"),), False)
    assert pick([], hopper)[0] == ["9.0a"]
    assert pick(["8.0", "9.0"], hopper)[0] == ["9.0"]
    assert pick(["8.0+PTX"], hopper)[0] == ["8.0+PTX"]
    assert pick(["8.0", "8.6"], Wanted((Capability(8, 9),), False))[0] == ["8.6"]
    with pytest.raises(ToolError, match="nothing to compile for"):
        pick(["10.0a"], hopper)


def test_a_guess_gives_way_to_what_is_declared() -> None:
    guess = Wanted((Capability(8, 0), Capability(9, 0, "a")), True)
    assert pick(["10.0a", "12.0a"], guess)[0] == ["12.0a"]
    found, skipped = pick(["5.0", "7.5", "8.0", "9.0"], guess, mode="release")
    assert found == ["7.5", "8.0", "9.0"]
    assert skipped == ["[kernel.x]: sm_50 was removed after CUDA 12.9, this nvcc is 13.0"]


def test_sources_beside_others_for_the_gpu_are_compiled_for_their_own() -> None:
    hopper = Wanted((Capability(9, 0, "a"),), False)
    assert covers(hopper, ["8.0", "9.0a"], "13.0")
    assert covers(hopper, [], "13.0")
    assert not covers(hopper, ["8.0"], "13.0")
    assert not covers(Wanted((Capability(7, 0),), False), ["7.0"], "13.0")
    found, skipped = chosen(hopper, ["7.5", "8.0"], "13.0", "[kernel.x]", "dev", linked=True)
    assert names(found) == ["8.0"]
    assert skipped == ["[kernel.x]: declares 7.5, 8.0, none of which runs on 9.0a; compiled for 8.0"]
    with pytest.raises(ToolError, match="nothing to compile for"):
        chosen(hopper, ["99999.0"], "13.0", "[kernel.x]", "dev", linked=True)
