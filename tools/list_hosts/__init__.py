"""The tool `list_hosts`: declared in `contract`, carried out by `run`."""
