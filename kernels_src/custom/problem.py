"""What custom must compute and where it is measured; a shape is that of every tensor.

TO BE WRITTEN: `reference`; `inputs` and `cost`, where tensors differ in shape or more than elements are read and written;
`shapes`, those of the model that the kernel is for. Optional names: mutates, setup, baselines, tolerance, cpu_shapes.
"""

import torch

entry = "custom"


def reference(x):
    """The same arguments as `entry`, plain torch, right in float64; returns a tensor or a tuple of them."""
    raise NotImplementedError("problem.py says nothing yet: write reference(), what the kernel must compute, in plain torch")


def inputs(shape, dtype, device, generator):
    """The tensors that `entry` takes, normal, drawn from `generator` alone; other arguments keep their defaults."""
    tensors = [torch.randn(*shape, generator=generator, device=device, dtype=torch.float32) for _ in range(1)]
    return tuple(t.to(dtype) for t in tensors)


shapes = [(1024, 4096), (8192, 4096), (2048, 11008), (4096, 3072)]
cpu_shapes = [(128, 4096), (100, 257)]
dtypes = ["bfloat16", "float32"]


def cost(shape, dtype):
    """Bytes: every tensor in, one out. Operations: one an element, too few to matter beside the bytes."""
    elements = 1
    for size in shape:
        elements *= size
    return (1 + 1) * elements * dtype.itemsize, elements
