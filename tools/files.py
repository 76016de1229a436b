"""Files that a client names: a path that stays in its folder, and writing many at once, all or nothing."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from kernelwright.tools.tool import ToolError

MAX_FILES = 2000
MAX_BYTES = 16 << 20


def inside(root: Path, relative: str, what: str = "path") -> Path:
    """`root / relative`, resolved; raises ToolError if it is absolute, leaves `root` by `..` or a link, or is no plain path."""
    parts = PurePosixPath(relative)
    if not relative or re.search(r"[\x00-\x1f]", relative) or "\\" in relative:
        raise ToolError(
            "bad_argument", f"{what} {relative!r} is not a plain relative path.", "Use letters, digits, dots and slashes."
        )
    if parts.is_absolute() or ".." in parts.parts:
        raise ToolError(
            "outside_roots",
            f"{what} {relative!r} leaves the project.",
            "Name it relative to the project's folder, without '..'.",
        )
    target = (root / parts).resolve()
    if not target.is_relative_to(root.resolve()):
        raise ToolError(
            "outside_roots",
            f"{what} {relative!r} is a link that leaves the project.",
            "Copy what it points at into the project.",
        )
    return target


def write_files(root: Path, files: Mapping[str, str]) -> tuple[str, ...]:
    """Write `files` ({relative path: text}) below `root`; the paths that changed. Nothing is written if one is refused."""
    if len(files) > MAX_FILES:
        raise ToolError("too_large", f"{len(files)} files were sent.", f"Send at most {MAX_FILES} files: only what changed.")
    contents = {relative: (inside(root, relative, "file"), _encoded(relative, text)) for relative, text in files.items()}
    total = sum(len(content) for _, content in contents.values())
    if total > MAX_BYTES:
        raise ToolError("too_large", f"{total} bytes were sent.", f"Send at most {MAX_BYTES} bytes: only what changed.")
    sent = {target for target, _ in contents.values()}
    for relative, (target, _) in contents.items():
        if target.is_dir():
            raise ToolError("conflict", f"{relative} is a folder of the project.", "Choose another name.")
        if any(parent in sent or parent.is_file() for parent in target.parents):
            raise ToolError("conflict", f"A folder of {relative} is a file of the project.", "Choose another name.")
    return tuple(relative for relative, (target, content) in contents.items() if _write(target, content))


def _encoded(relative: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ToolError("bad_argument", f"{relative} is no valid Unicode text.", "Send valid UTF-8.") from error


def _write(target: Path, content: bytes) -> bool:
    if target.is_file() and target.read_bytes() == content:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    # Whoever reads meanwhile finds the old text or the new one, never half of it.
    partial = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.partial")
    partial.write_bytes(content)
    if target.is_file():
        partial.chmod(target.stat().st_mode)
    partial.replace(target)
    return True
