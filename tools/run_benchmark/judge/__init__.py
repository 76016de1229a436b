"""The judge and its children: standard library and torch alone, started by path under the user's Python.

`opening.py` starts the children; `judge.py` holds seeds, comparison, clock, statistics and verdict, and runs no code of the
agent's. `reference.py` and `subject.py` are the children's programs, which run the agent's code inside the sandbox.
"""
