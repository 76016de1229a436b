"""The tool `compile_kernel`: declared in `contract`, carried out by `run`."""
