"""For `kernels benchmark`, which times with the host's clock and a warm L2: good for a first look only.

In float16, since the tolerance of `kernels benchmark`, 0.01, is less than one step of bfloat16 above 2.
"""

import torch
from kernels.benchmark import Benchmark


class RMSNormBenchmark(Benchmark):
    seed = 42

    def _setup(self, rows, n, dtype):
        self.x = torch.randn(rows, n, device=self.device).to(dtype)
        self.weight = (1 + 0.1 * torch.randn(n, device=self.device)).to(dtype)
        self.out = torch.empty_like(self.x)

    def _run(self):
        self.out = self.kernel.rmsnorm(self.x, self.weight)

    def _verify(self):
        x = self.x.double()
        normal = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
        return (normal * self.weight.double()).to(self.x.dtype)

    def setup_hidden(self):
        self._setup(1024, 4096, torch.float16)

    def benchmark_hidden(self):
        self._run()

    def verify_hidden(self):
        return self._verify()

    def setup_heads(self):
        self._setup(32768, 128, torch.float16)

    def benchmark_heads(self):
        self._run()

    def verify_heads(self):
        return self._verify()
