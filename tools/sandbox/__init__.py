"""A box for code that was not written here: compilers, problem files, kernels under test.

Two tiers give the same promises (no network, no other process, no secrets in the environment, read-only files except
`Box.writable` and a private `/tmp`, limits on time, memory and processes): bubblewrap's namespaces, and, where user
namespaces are forbidden as in most containers, Landlock with seccomp and, when started as root, a user id of its own.
"""

from kernelwright.tools.sandbox.box import Box, Completed, Limits, Tier
from kernelwright.tools.sandbox.enter import available_tier, command, run
from kernelwright.tools.sandbox.supervise import KILLED, describe_exit

__all__ = ["KILLED", "Box", "Completed", "Limits", "Tier", "available_tier", "command", "describe_exit", "run"]
