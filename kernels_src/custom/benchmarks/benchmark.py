"""For `kernels benchmark`, which times with the host's clock and a warm L2: good for a first look only."""

import torch
from kernels.benchmark import Benchmark


class FirstLook(Benchmark):
    seed = 42

    def setup_elements(self):
        self.tensors = [torch.randn(1024, 4096, device=self.device).bfloat16() for _ in range(1)]

    def benchmark_elements(self):
        self.out = self.kernel.custom(*self.tensors)
