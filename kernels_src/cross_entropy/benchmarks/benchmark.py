"""For `kernels benchmark`, which times with the host's clock and a warm L2: good for a first look only."""

import torch
from kernels.benchmark import Benchmark


class CrossEntropyBenchmark(Benchmark):
    seed = 42

    def _setup(self, rows, n):
        self.logits = torch.randn(rows, n, device=self.device).bfloat16()
        self.target = torch.randint(n, (rows,), device=self.device)
        self.target[::16] = -100
        self.out = torch.empty(rows, device=self.device)

    def _run(self):
        self.out = self.kernel.cross_entropy(self.logits, self.target, reduction="none")

    def _verify(self):
        exact = torch.nn.functional.cross_entropy(self.logits.double(), self.target, reduction="none")
        return exact.float()

    def setup_vocabulary(self):
        self._setup(64, 50257)

    def benchmark_vocabulary(self):
        self._run()

    def verify_vocabulary(self):
        return self._verify()

    def setup_classes(self):
        self._setup(4096, 1000)

    def benchmark_classes(self):
        self._run()

    def verify_classes(self):
        return self._verify()
