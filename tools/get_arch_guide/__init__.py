"""The tool `get_arch_guide`: declared in `contract`, carried out by `run`."""
