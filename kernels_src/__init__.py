"""The catalogue: one complete, publishable kernel project per operation."""
