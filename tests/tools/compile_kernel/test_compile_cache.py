"""The object cache: same content, same entry; a changed header, no entry; a killed writer, no harm."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kernelwright.tools.compile_kernel.cache import Cache, key


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "own.h").write_text("1")
    return folder


def stored(tmp_path: Path, text: str = "object") -> dict[str, Path]:
    path = tmp_path / "made"
    path.write_text(text)
    return {"object.o": path}


def test_what_was_put_is_found_by_content(tmp_path: Path, project: Path) -> None:
    system = tmp_path / "system.h"
    system.write_text("2")
    cache = Cache(tmp_path / "cache")
    name = key(["unit"])
    assert cache.find(name, project) is None
    entry = cache.put(name, stored(tmp_path), ["own.h", str(system)], project)
    found = Cache(tmp_path / "cache").find(name, project)
    assert found == entry
    assert found.file("object.o").read_text() == "object"
    assert Cache(tmp_path / "cache").find(key(["another"]), project) is None


def test_other_projects_with_the_same_files_share_it(tmp_path: Path, project: Path) -> None:
    Cache(tmp_path / "cache").put(key(1), stored(tmp_path), ["own.h"], project)
    other = tmp_path / "other"
    other.mkdir()
    assert Cache(tmp_path / "cache").find(key(1), other) is None
    (other / "own.h").write_text("1")
    assert Cache(tmp_path / "cache").find(key(1), other) is not None


@pytest.mark.parametrize("change", ["own", "system", "gone"])
def test_a_changed_header_is_another_entry(tmp_path: Path, project: Path, change: str) -> None:
    system = tmp_path / "system.h"
    system.write_text("2")
    Cache(tmp_path / "cache").put(key(1), stored(tmp_path), ["own.h", str(system)], project)
    if change == "gone":
        (project / "own.h").unlink()
    else:
        ((project / "own.h") if change == "own" else system).write_text("changed")
    assert Cache(tmp_path / "cache").find(key(1), project) is None


def test_going_back_finds_the_old_object(tmp_path: Path, project: Path) -> None:
    for text in ("1", "2"):
        (project / "own.h").write_text(text)
        Cache(tmp_path / "cache").put(key(1), stored(tmp_path, f"object {text}"), ["own.h"], project)
    (project / "own.h").write_text("1")
    found = Cache(tmp_path / "cache").find(key(1), project)
    assert found is not None
    assert found.file("object.o").read_text() == "object 1"


def test_damage_is_a_miss(tmp_path: Path, project: Path) -> None:
    entry = Cache(tmp_path / "cache").put(key(1), stored(tmp_path), [], project)
    entry.file("deps.json").write_text("{")
    assert Cache(tmp_path / "cache").find(key(1), project) is None


def test_the_oldest_go_first_when_it_is_full(tmp_path: Path, project: Path) -> None:
    cache = Cache(tmp_path / "cache", max_bytes=2500)
    for number in range(4):
        entry = cache.put(key(number), stored(tmp_path, "x" * 1000), [], project)
        os.utime(entry.folder, (1000 + number, 1000 + number))
    cache.prune()
    held = [number for number in range(4) if Cache(tmp_path / "cache").find(key(number), project)]
    assert held == [2, 3]


def test_leftovers_of_the_dead_are_swept(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    leftover = tmp_path / "cache" / ".partial-dead"
    leftover.mkdir()
    os.utime(leftover, (time.time() - 7200,) * 2)
    cache.prune()
    assert not leftover.exists()


WRITER = """
import sys
from pathlib import Path
from kernelwright.tools.compile_kernel.cache import Cache, key
root, project, made = map(Path, sys.argv[1:])
print("ready", flush=True)
number = 0
while True:
    Cache(root).put(key(number % 50), {"object.o": made}, ["own.h"], project)
    number += 1
"""


def test_what_another_compile_finishes_while_it_sweeps_is_no_error(tmp_path: Path, project: Path) -> None:
    cache = Cache(tmp_path / "cache")
    # Listed, and not there when looked at: what a rename in between leaves.
    (tmp_path / "cache" / ".partial-finished").symlink_to(tmp_path / "gone")
    cache.prune()
    name = key(["unit"])
    assert cache.put(name, stored(tmp_path), ["own.h"], project) == cache.find(name, project)


def test_a_writer_killed_at_any_time_leaves_whole_entries_only(tmp_path: Path, project: Path) -> None:
    made = tmp_path / "made"
    made.write_bytes(b"x" * (4 << 20))
    root = tmp_path / "cache"
    for delay in (0.01, 0.03, 0.05):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(root), str(project), str(made)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        # The moment of death is what varies here, it is waited for nothing.
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
    found = [entry for number in range(50) if (entry := Cache(root).find(key(number), project))]
    assert all(entry.file("object.o").stat().st_size == 4 << 20 for entry in found)
    Cache(root).put(key("after"), {"object.o": made}, ["own.h"], project)
    assert Cache(root).find(key("after"), project) is not None
