"""Stands in for the candidate's program in the suite: torch is imported once, and every trial gets a fork of that process.

Started by path inside the sandbox with the judge's folder and the descriptors as arguments.
"""

import importlib.util
import os
import sys


def main(judge_folder: str, fds: str) -> None:
    """Fork a subject; when it is killed at the end of a trial, fork the next."""
    spec = importlib.util.spec_from_file_location("start", f"{judge_folder}/start.py")
    start = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(start)
    subject = start.load("subject")
    while True:
        pid = os.fork()
        if pid == 0:
            os._exit(subject.main([fds]))
        os.waitpid(pid, 0)


main(sys.argv[1], sys.argv[2])
