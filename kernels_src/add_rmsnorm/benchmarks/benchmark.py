"""For `kernels benchmark`, which times with the host's clock and a warm L2: good for a first look only.

In float16, since the tolerance of `kernels benchmark`, 0.01, is less than one step of bfloat16 above 2.
"""

import torch
from kernels.benchmark import Benchmark


class AddRMSNormBenchmark(Benchmark):
    seed = 42

    def setup_hidden(self):
        self.x = torch.randn(1024, 4096, device=self.device).half()
        self.start = torch.randn_like(self.x)
        self.weight = (1 + 0.1 * torch.randn(4096, device=self.device)).half()

    def benchmark_hidden(self):
        self.out = self.kernel.add_rmsnorm(self.x, self.start.clone(), self.weight)

    def verify_hidden(self):
        residual = (self.start + self.x).double()
        normal = residual * torch.rsqrt(residual.pow(2).mean(-1, keepdim=True) + 1e-6)
        return (normal * self.weight.double()).to(self.x.dtype)
