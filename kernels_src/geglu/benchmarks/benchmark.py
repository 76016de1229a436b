"""For `kernels benchmark`, which times with the host's clock and a warm L2: good for a first look only.

In float16, since the tolerance of `kernels benchmark`, 0.01, is less than one step of bfloat16 above 2.
"""

import torch
from kernels.benchmark import Benchmark


class GEGLUBenchmark(Benchmark):
    seed = 42

    def setup_mlp(self):
        self.x = torch.randn(256, 2 * 5120, device=self.device).half()

    def benchmark_mlp(self):
        self.out = self.kernel.geglu(self.x)

    def verify_mlp(self):
        value, gate = self.x.double().chunk(2, dim=-1)
        return (value * torch.nn.functional.gelu(gate)).half()
