"""The tool `run_benchmark`: declared in `contract`, carried out by `run`."""
