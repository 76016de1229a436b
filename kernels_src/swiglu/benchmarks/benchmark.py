"""For `kernels benchmark`, which times with the host's clock and a warm L2: good for a first look only."""

import torch
from kernels.benchmark import Benchmark


class SwiGLUBenchmark(Benchmark):
    seed = 42

    def setup_mlp(self):
        self.gate, self.up = torch.randn(2, 256, 12288, device=self.device).bfloat16()

    def benchmark_mlp(self):
        self.out = self.kernel.swiglu(self.gate, self.up)

    def verify_mlp(self):
        return (torch.nn.functional.silu(self.gate.double()) * self.up.double()).bfloat16()
