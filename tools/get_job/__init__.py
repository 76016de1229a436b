"""The tool `get_job`: declared in `contract`, carried out by `run`."""
