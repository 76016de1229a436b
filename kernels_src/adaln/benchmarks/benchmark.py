"""For `kernels benchmark`, which times with the host's clock and a warm L2: good for a first look only.

In float16, since the tolerance of `kernels benchmark`, 0.01, is less than one step of bfloat16 above 2.
"""

import torch
from kernels.benchmark import Benchmark


class AdaLNBenchmark(Benchmark):
    seed = 42

    def setup_tokens(self):
        self.x = torch.randn(2, 1024, 3072, device=self.device).half()
        self.scale, self.shift = 0.3 * torch.randn(2, 2, 3072, device=self.device).half()

    def benchmark_tokens(self):
        self.out = self.kernel.adaln(self.x, self.scale, self.shift)

    def verify_tokens(self):
        normal = torch.nn.functional.layer_norm(self.x.double(), (3072,), eps=1e-6)
        return (normal * (1 + self.scale.double()[:, None]) + self.shift.double()[:, None]).half()
