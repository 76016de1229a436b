"""For `kernels benchmark`, which times with the host's clock and a warm L2: good for a first look only.

In float16, since the tolerance of `kernels benchmark`, 0.01, is less than one step of bfloat16 above 2.
"""

import torch
from kernels.benchmark import Benchmark


class RopeBenchmark(Benchmark):
    seed = 42

    def setup_llama(self):
        self.q = torch.randn(1, 256, 32, 128, device=self.device).half().transpose(1, 2)
        self.k = torch.randn(1, 256, 8, 128, device=self.device).half().transpose(1, 2)
        frequency = 10000.0 ** (-torch.arange(0, 128, 2, device=self.device) / 128)
        angle = torch.arange(256, device=self.device)[:, None] * frequency
        self.cos, self.sin = angle.cos(), angle.sin()

    def benchmark_llama(self):
        self.out, _ = self.kernel.rope(self.q, self.k, self.cos, self.sin)

    def verify_llama(self):
        a, b = self.q.double().chunk(2, dim=-1)
        return torch.cat([a * self.cos - b * self.sin, b * self.cos + a * self.sin], dim=-1).half()
