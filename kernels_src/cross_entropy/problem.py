"""What cross_entropy must compute and where it is measured; a shape is (rows, n), n the classes."""

import torch
from torch.nn import functional

entry = "cross_entropy"


def inputs(shape, dtype, device, generator):
    """logits (rows, n), target (rows,) of which a sixteenth is ignored, and a loss for each row: a mean hides most errors."""
    rows, n = shape
    logits = torch.randn(rows, n, generator=generator, device=device, dtype=torch.float32).to(dtype)
    target = torch.randint(n, (rows,), generator=generator, device=device)
    target[torch.randperm(rows, generator=generator, device=device)[: rows // 16]] = -100
    return logits, target, -100, "none"


def reference(logits, target, ignore_index=-100, reduction="mean"):
    """What model code writes: float32 logits, the classes last."""
    flat = logits.reshape(-1, logits.shape[-1])
    if flat.dtype in (torch.float16, torch.bfloat16):
        flat = flat.float()
    loss = functional.cross_entropy(flat, target.reshape(-1), ignore_index=ignore_index, reduction=reduction)
    return loss.reshape(target.shape) if reduction == "none" else loss


# Vocabularies of Qwen3 (151936), Llama-3 (128256), Gemma-3 (262208), GPT-2 (50257, whose rows start anywhere), Llama-2 and
# Mistral (32000), and the classes of ImageNet.
shapes = [
    (1024, 151936),
    (4096, 151936),
    (4096, 128256),
    (256, 262208),
    (2048, 50257),
    (8192, 32000),
    (16384, 1000),
]
cpu_shapes = [(32, 50257), (512, 1000)]
dtypes = ["bfloat16", "float32"]


def cost(shape, dtype):
    """Bytes: logits of rows that count and all targets in, losses out. Operations: maximum, difference, exponential, sum."""
    rows, n = shape
    counted = rows - rows // 16
    return counted * n * dtype.itemsize + 12 * rows, 4 * counted * n


def _torch(logits, target, ignore_index=-100, reduction="mean"):
    """In the dtype of the logits, as torch's own function has it."""
    return functional.cross_entropy(logits, target, ignore_index=ignore_index, reduction=reduction)


def _liger():
    from liger_kernel.transformers.functional import liger_cross_entropy

    return lambda logits, target, ignore_index=-100, reduction="mean": liger_cross_entropy(
        logits, target, ignore_index=ignore_index, reduction=reduction
    )


def _quack():
    from quack.cross_entropy import cross_entropy

    return lambda logits, target, ignore_index=-100, reduction="mean": cross_entropy(
        logits, target, ignore_index=ignore_index, reduction=reduction
    )


baselines = {"F.cross_entropy": _torch}
for _name, _load in {"liger": _liger, "quack": _quack}.items():
    try:
        baselines[_name] = _load()
    except Exception:  # not installed, or not for this machine: then there is nothing to compare with
        continue
