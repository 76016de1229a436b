"""The tool `read_reference`: declared in `contract`, carried out by `run`."""
