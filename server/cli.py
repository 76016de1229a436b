"""The `kernelwright` command. Without arguments it serves MCP on standard input and output."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; a client's start takes the short way, past everything that only people need."""
    if sys.argv[1:] in ([], ["serve"]) and not sys.stdin.isatty():
        import anyio

        from kernelwright.server.settings import Settings
        from kernelwright.server.stdio import serve

        anyio.run(serve, Settings())
        return
    from kernelwright.server.command_line import app

    app()


if __name__ == "__main__":
    main()
