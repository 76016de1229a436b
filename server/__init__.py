"""Who connects and where work runs: the only code that imports `mcp`."""
