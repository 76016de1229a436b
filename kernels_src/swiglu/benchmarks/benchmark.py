"""For `kernels benchmark`, which times with the host's clock and a warm L2: good for a first look only.

In float16, since the tolerance of `kernels benchmark`, 0.01, is less than one step of bfloat16 above 2.
"""

import torch
from kernels.benchmark import Benchmark


class SwiGLUBenchmark(Benchmark):
    seed = 42

    def setup_mlp(self):
        self.gate, self.up = torch.randn(2, 256, 12288, device=self.device).half()

    def benchmark_mlp(self):
        self.out = self.kernel.swiglu(self.gate, self.up)

    def verify_mlp(self):
        return (torch.nn.functional.silu(self.gate.double()) * self.up.double()).half()
