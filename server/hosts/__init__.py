"""Where a tool call runs: a worker process here, or another Kernelwright."""
