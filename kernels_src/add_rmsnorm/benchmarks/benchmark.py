"""For `kernels benchmark`, which times with the host's clock and a warm L2: good for a first look only."""

import torch
from kernels.benchmark import Benchmark


class AddRMSNormBenchmark(Benchmark):
    seed = 42

    def setup_hidden(self):
        self.x = torch.randn(1024, 4096, device=self.device).bfloat16()
        self.start = torch.randn_like(self.x)
        self.weight = torch.randn(4096, device=self.device).bfloat16()

    def benchmark_hidden(self):
        self.out = self.kernel.add_rmsnorm(self.x, self.start.clone(), self.weight)

    def verify_hidden(self):
        residual = (self.start + self.x).double()
        normal = residual * torch.rsqrt(residual.pow(2).mean(-1, keepdim=True) + 1e-6)
        return (normal * self.weight.double()).to(self.x.dtype)
