"""What an agent can read, a level at a time: index, guide, section; the GPU facts lie in arch/specs.toml."""
