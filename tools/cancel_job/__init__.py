"""The tool `cancel_job`: declared in `contract`, carried out by `run`."""
