"""The tool get_arch_guide, with the host's GPUs as nvidia-smi would show them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kernelwright.tools import archs, gpu, reference_library
from kernelwright.tools.get_arch_guide import measure
from kernelwright.tools.get_arch_guide.contract import ArchGuideArgs
from kernelwright.tools.get_arch_guide.run import run
from kernelwright.tools.gpu import Gpu
from kernelwright.tools.tool import Context, ToolError

H200 = Gpu(0, "NVIDIA H200", "9.0", 143771 << 20, "580.1", "GPU-1234")
# What torch says of an H200; `sms` first, as measure asks for it.
PROPERTIES = {
    "sms": 132,
    "memory_bytes": 150_000_000_000,
    "l2_bytes": 62914560,
    "threads_per_sm": 2048,
    "registers_per_sm": 65536,
    "shared_bytes_per_sm": 233472,
    "shared_bytes_per_block": 232448,
}
MakeContext = Callable[..., Context]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Path]:
    """`host(*gpus, says=...)`: the host has these GPUs, and its host_python prints `says`; returns that Python."""

    def make(*devices: Gpu, says: str = "") -> Path:
        monkeypatch.setattr(gpu, "devices", lambda: devices)
        measure.properties.cache_clear()
        python = tmp_path / "python"
        python.write_text(f"#!/bin/sh\ncat <<'EOF'\n{says}\nEOF\n", encoding="utf-8")
        python.chmod(0o755)
        return python

    return make


@pytest.mark.parametrize("arch", archs.all_archs(), ids=lambda arch: arch.key)
def test_every_gpu_has_a_guide_under_10_kb(arch: archs.Arch, host: Callable[..., Path], make_context: MakeContext) -> None:
    host()
    guide = run(ArchGuideArgs(arch=arch.key), make_context())
    assert (guide.arch, guide.compute_capability, guide.measured) == (arch.key, arch.compute_capability, None)
    assert len(guide.model_dump_json()) < 10_000
    text = guide.markdown()
    assert len(text.encode()) < 10_000
    assert str(guide.specs["sms"]) in text
    assert guide.read_next
    for following in guide.read_next:
        assert reference_library.read(following.uri).title == following.title


def test_auto_without_a_gpu_lists_what_can_be_passed(host: Callable[..., Path], make_context: MakeContext) -> None:
    host()
    with pytest.raises(ToolError) as caught:
        run(ArchGuideArgs(), make_context())
    assert caught.value.code == "no_gpu"
    assert "h100" in caught.value.hint
    assert "rtx5090" in caught.value.hint


def test_auto_is_the_hosts_gpu_with_what_it_reports(host: Callable[..., Path], make_context: MakeContext) -> None:
    context = make_context(host_python=host(H200, says=json.dumps(PROPERTIES)))
    gpu.remember_bandwidth(context.cache, H200, 4250.0)
    guide = run(ArchGuideArgs(), context)
    assert guide.arch == "h200"
    assert guide.measured is not None
    assert guide.measured["sms"] == 132
    assert (guide.measured["copy_gbps"], guide.measured["copy_pct_of_spec"]) == (4250, 89)
    assert guide.measured["differs"] == []
    assert "4250" in guide.markdown()


def test_differences_from_the_table_are_said(host: Callable[..., Path], make_context: MakeContext) -> None:
    says = json.dumps(PROPERTIES | {"sms": 114, "l2_bytes": 52428800})
    guide = run(ArchGuideArgs(arch="h200"), make_context(host_python=host(H200, says=says)))
    assert guide.measured is not None
    assert guide.measured["differs"] == ["sms: device 114, table 132", "l2: device 50 MB, table 60"]
    assert guide.measured["copy_gbps"].startswith("not measured")


def _that_copies(python: Path) -> Path:
    python.write_text('#!/bin/sh\ncase "$2" in *copy_*) echo 4215.3;; *) echo "{}";; esac\n', encoding="utf-8")
    return python


def test_the_copy_bandwidth_is_measured_where_no_benchmark_has_run_and_remembered(
    host: Callable[..., Path], make_context: MakeContext
) -> None:
    context = make_context(host_python=_that_copies(host(H200)))
    guide = run(ArchGuideArgs(), context)
    assert guide.measured is not None
    assert (guide.measured["copy_gbps"], guide.measured["copy_pct_of_spec"]) == (4215, 88)
    remembered = gpu.copy_bandwidth(context.cache, H200)
    assert remembered is not None
    assert remembered["copy_gbps"] == 4215.3


def test_the_copy_bandwidth_is_not_measured_beside_another_job(host: Callable[..., Path], make_context: MakeContext) -> None:
    context = make_context(host_python=_that_copies(host(H200)))
    with gpu.lock(gpu.lock_folder(H200)):
        guide = run(ArchGuideArgs(), context)
    assert guide.measured is not None
    assert guide.measured["copy_gbps"].startswith("not measured")


def test_another_gpu_than_the_hosts_has_no_measurements(host: Callable[..., Path], make_context: MakeContext) -> None:
    guide = run(ArchGuideArgs(arch="t4"), make_context(host_python=host(H200, says=json.dumps(PROPERTIES))))
    assert guide.measured is None


def test_a_gpu_that_is_not_listed_is_described_by_its_capability(host: Callable[..., Path], make_context: MakeContext) -> None:
    a6000 = Gpu(0, "NVIDIA RTX A6000", "8.6", 49140 << 20, "580.1", "GPU-5")
    guide = run(ArchGuideArgs(), make_context(host_python=host(a6000, says="{}")))
    assert guide.compute_capability == "8.6"
    assert guide.measured is not None
    assert any("'NVIDIA RTX A6000', described here by NVIDIA A10" in line for line in guide.measured["differs"])


def test_a_capability_that_is_not_described_is_an_error(host: Callable[..., Path], make_context: MakeContext) -> None:
    host(Gpu(0, "NVIDIA Orin", "8.7", 32 << 30, "540", "GPU-6"))
    with pytest.raises(ToolError) as caught:
        run(ArchGuideArgs(), make_context())
    assert caught.value.code == "unknown_arch"
    assert "8.7" in caught.value.message


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("echo broken >&2; exit 1", "unknown: broken"),
        ("true", "unknown: torch sees no such device"),
        ("exec sleep 60", "did not answer within 0.2 s"),
    ],
)
def test_a_python_that_cannot_say_is_tolerated(
    body: str, said: str, host: Callable[..., Path], make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = host(H200)
    python.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    monkeypatch.setattr(measure, "PROPERTIES_TIMEOUT_S", 0.2 if "sleep" in body else 20)
    guide = run(ArchGuideArgs(), make_context(host_python=python))
    assert guide.measured is not None
    assert said in guide.measured["properties"]


def test_a_missing_python_is_tolerated(host: Callable[..., Path], make_context: MakeContext, tmp_path: Path) -> None:
    host(H200)
    guide = run(ArchGuideArgs(), make_context(host_python=tmp_path / "nowhere"))
    assert guide.measured is not None
    assert "unknown" in guide.measured["properties"]


@pytest.mark.gpu
def test_on_a_gpu_machine_the_device_agrees_with_the_table(make_context: MakeContext) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")
    guide = run(ArchGuideArgs(), make_context())
    assert guide.measured is not None
    assert guide.measured["sms"] == torch.cuda.get_device_properties(0).multi_processor_count
    assert guide.measured["differs"] == []
