"""For `kernels benchmark`, which times with the host's clock and a warm L2: good for a first look only."""

import torch
from kernels.benchmark import Benchmark


class SoftmaxBenchmark(Benchmark):
    seed = 42

    def setup_rows(self):
        self.x = torch.randn(1024, 4096, device=self.device).bfloat16()

    def benchmark_rows(self):
        self.out = self.kernel.softmax(self.x)

    def verify_rows(self):
        return torch.softmax(self.x.double(), dim=-1).bfloat16()
