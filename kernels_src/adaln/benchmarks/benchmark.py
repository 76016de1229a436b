"""For `kernels benchmark`, which times with the host's clock and a warm L2: good for a first look only."""

import torch
from kernels.benchmark import Benchmark


class AdaLNBenchmark(Benchmark):
    seed = 42

    def setup_tokens(self):
        self.x = torch.randn(2, 1024, 3072, device=self.device).bfloat16()
        self.scale, self.shift = torch.randn(2, 2, 3072, device=self.device).bfloat16()

    def benchmark_tokens(self):
        self.out = self.kernel.adaln(self.x, self.scale, self.shift)

    def verify_tokens(self):
        normal = torch.nn.functional.layer_norm(self.x.double(), (3072,), eps=1e-6)
        return (normal * (1 + self.scale.double()[:, None]) + self.shift.double()[:, None]).bfloat16()
