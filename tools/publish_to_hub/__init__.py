"""The tool `publish_to_hub`: declared in `contract`, carried out by `run`."""
