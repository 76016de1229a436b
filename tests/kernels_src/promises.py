"""What every project of the catalogue promises, each as a function that runs in a child and raises where it does not hold."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch


def problem_of(project: Path) -> ModuleType:
    """The problem.py of `project`."""
    spec = importlib.util.spec_from_file_location("problem", project / "problem.py")
    assert spec and spec.loader
    problem = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(problem)
    return problem


def load(project: Path) -> tuple[ModuleType, ModuleType]:
    """The built package of `project`, and its problem."""
    from kernels import get_local_kernel

    return get_local_kernel(project), problem_of(project)


def arguments(problem: ModuleType, shape: tuple[int, ...], dtype: str = "float32") -> tuple[Any, ...]:
    """Fresh inputs, the same ones whenever they are asked for."""
    made = problem.inputs(shape, getattr(torch, dtype), "cpu", torch.Generator().manual_seed(7))
    assert isinstance(made, tuple)
    return made


def _tensors(given: tuple[Any, ...]) -> list[torch.Tensor]:
    return [a for a in given if isinstance(a, torch.Tensor)]


def small_shape(problem: ModuleType) -> tuple[int, ...]:
    """A shape like the first that is measured on the CPU, with few rows."""
    first, *others = getattr(problem, "cpu_shapes", problem.shapes)[0]
    return (min(first, 4), *others)


def own_tests(project: Path) -> None:
    """The tests that come with the project pass."""
    import pytest

    os.chdir(project)
    sys.exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-k", "not compiles_whole", "tests"]))


def kernels_benchmark(project: Path) -> None:
    """`kernels benchmark` finds the project's workloads and their results right."""
    from kernels.cli import main

    sys.argv = ["kernels", "benchmark", str(project), "--iterations", "2", "--warmup", "0", "--json"]
    main()


def compiles_over_shapes(project: Path) -> None:
    """torch.compile takes the entry whole, once for the first shape and once for all others, and computes what eager does."""
    from torch._dynamo.testing import CompileCounterWithBackend

    package, problem = load(project)
    entry = getattr(package, problem.entry)
    counter = CompileCounterWithBackend("inductor")
    compiled = torch.compile(entry, fullgraph=True, backend=counter)
    first, *others = small_shape(problem)
    for size in (first, first + 3, first + 8, first + 1):
        expected, actual = (arguments(problem, (size, *others)) for _ in range(2))
        torch.testing.assert_close(compiled(*actual), entry(*expected))
        torch.testing.assert_close(_tensors(actual), _tensors(expected))
    assert counter.frame_count == 2, f"compiled {counter.frame_count} times"


def takes_the_place_of_layers(rmsnorm: Path, rope: Path) -> None:
    """`kernelize` puts the layers of both into a tiny Llama and a Qwen3, whose queries and keys are normalised too, and
    GemmaRMSNorm where the factor is 1 + weight: the outputs agree, and torch.compile still takes the models whole.
    """
    from kernels import LocalLayerRepository, Mode, kernelize, use_kernel_mapping
    from torch import nn
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM
    from transformers.models.llama import modeling_llama
    from transformers.models.qwen3 import modeling_qwen3
    from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5RMSNorm

    torch.manual_seed(7)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 128}
    llama = LlamaForCausalLM(LlamaConfig(num_key_value_heads=2, **sizes)).eval()
    qwen = Qwen3ForCausalLM(Qwen3Config(num_key_value_heads=2, head_dim=32, **sizes)).eval()
    zero_centred = nn.Sequential(Qwen3_5RMSNorm(64))
    models: tuple[nn.Module, ...] = (llama, qwen, zero_centred)
    for name, parameter in (named for model in models for named in model.named_parameters()):
        if "norm" in name or name == "0.weight":
            nn.init.normal_(parameter, 1.0, 0.3)
    tokens, hidden = torch.arange(32)[None], torch.randn(4, 64)
    layers = {
        "RMSNorm": (rmsnorm, "RMSNorm"),
        "RMSNormZeroCentered": (rmsnorm, "GemmaRMSNorm"),
        "rotary_pos_emb": (rope, "RotaryPosEmb"),
    }
    mapping = {
        theirs: {device: LocalLayerRepository(project, layer_name=ours) for device in ("cpu", "cuda")}
        for theirs, (project, ours) in layers.items()
    }
    with torch.no_grad(), use_kernel_mapping(mapping, inherit_mapping=False):
        expected = llama(tokens).logits, qwen(tokens).logits, zero_centred(hidden)
        for model in models:
            kernelize(model, mode=Mode.INFERENCE | Mode.TORCH_COMPILE, device="cpu")
        torch.testing.assert_close((llama(tokens).logits, qwen(tokens).logits, zero_centred(hidden)), expected)
        whole = torch.compile(qwen, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(whole(tokens).logits, expected[1])
    norms = [m for model in models for m in model.modules() if type(m).__name__.endswith("RMSNorm")]
    assert len(norms) == 5 + 9 + 1
    functions = [modeling_llama.apply_rotary_pos_emb, modeling_qwen3.apply_rotary_pos_emb]
    assert {m.forward.__func__.__module__.split(".")[-1] for m in (*norms, *functions)} == {"layers"}
