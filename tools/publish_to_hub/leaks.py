"""What must not leave this host: credentials, and paths that tell where and by whom a package was built."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_SECRETS = {
    "a Hugging Face token": rb"(?<![A-Za-z0-9])hf_[A-Za-z0-9]{30,}",
    "a GitHub token": rb"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{50,})",
    "an AWS access key": rb"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])",
    "an API key": rb"(?<![A-Za-z0-9_-])sk-(?:ant-|proj-)?[A-Za-z0-9_-]{32,}",
    "a Slack token": rb"(?<![A-Za-z0-9])xox[abposr]-[A-Za-z0-9-]{20,}",
    "a private key": rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
}
_SECRET_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "KERNELWRIGHT_TOKEN", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY")
_SHORTEST_SECRET = 12
# Someone's home, whatever the host; a line of documentation may well say /tmp or /usr.
_HOMES = re.compile(rb"(?<![\w.])(?:/(?:home|Users)/[\w.-]+/|/root/|[A-Z]:\\Users\\[\w.-]+\\)[\w./\\+-]*")
_SYSTEM = ("/usr", "/opt", "/nix", "/bin", "/lib", "/etc", "/var")


@dataclass(frozen=True)
class Leak:
    """Something in a file that must not be published: `what` it is, never the secret itself."""

    file: str
    what: str


def secrets(file: str, content: bytes) -> list[Leak]:
    """Credentials in `content`, by their form and by the values of this process's own environment."""
    found = [what for what, form in _SECRETS.items() if re.search(form, content)]
    for variable in _SECRET_VARIABLES:
        value = os.environ.get(variable, "")
        if len(value) >= _SHORTEST_SECRET and value.encode() in content:
            found.append(f"the value of {variable}")
    return [Leak(file, what) for what in found]


def paths(file: str, content: bytes, places: Iterable[Path]) -> list[Leak]:
    """Absolute paths in `content` that lie below one of `places` or in somebody's home, each once."""
    found = [match[0] for match in _HOMES.finditer(content)]
    for place in places:
        form = rb"(?<![\w.])" + re.escape(os.fsencode(place)) + rb"(?![\w.-])[\w./+-]*"
        found += [match[0] for match in re.finditer(form, content)]
    return [Leak(file, os.fsdecode(path)) for path in dict.fromkeys(found)]


def local_places(project: Path, host_python: Path, *others: Path) -> tuple[Path, ...]:
    """Folders of this host that no package has reason to name; those of the system and very short ones are left out."""
    candidates = [project, *others, Path.home(), Path(sys.prefix), host_python.parent.parent]
    kept = [
        place
        for candidate in candidates
        for place in {candidate.absolute(), candidate.resolve()}
        if len(place.parts) > 2 and not str(place).startswith(_SYSTEM)
    ]
    return tuple(dict.fromkeys(kept))
