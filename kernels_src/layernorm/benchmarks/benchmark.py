"""For `kernels benchmark`, which times with the host's clock and a warm L2: good for a first look only.

In float16, since the tolerance of `kernels benchmark`, 0.01, is less than one step of bfloat16 above 2.
"""

import torch
from kernels.benchmark import Benchmark


class LayerNormBenchmark(Benchmark):
    seed = 42

    def setup_hidden(self):
        self.x = torch.randn(1024, 4096, device=self.device).half()
        self.weight = (1 + 0.1 * torch.randn(4096, device=self.device)).half()
        self.bias = 0.1 * torch.randn(4096, device=self.device).half()

    def benchmark_hidden(self):
        self.out = self.kernel.layernorm(self.x, self.weight, self.bias)

    def verify_hidden(self):
        arguments = (t.double() for t in (self.weight, self.bias))
        return torch.nn.functional.layer_norm(self.x.double(), (4096,), *arguments).half()
