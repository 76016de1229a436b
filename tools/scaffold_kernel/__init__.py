"""The tool `scaffold_kernel`: declared in `contract`, carried out by `run`."""
