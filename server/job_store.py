"""Jobs on disk: a folder each with its record, log, result and reports, so that they outlive the server that ran them."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from kernelwright.tools.processes import is_running, start_time
from kernelwright.tools.tool import Status, ToolError

JOB_ID = re.compile(r"[a-z]+-[0-9a-f]{12}")
RECORD = "job.json"
CANCEL = "cancel"
FINISHED: frozenset[Status] = frozenset({"ok", "failed", "cancelled", "interrupted"})


@dataclass
class Record:
    """The state of one job. `server` is the process id and start time of the server that runs it; times are Unix seconds."""

    id: str
    tool: str
    project_id: str
    status: Status = "queued"
    stage: str = "queued"
    message: str = ""
    queue_position: int = 0
    created: float = field(default_factory=time.time)
    started: float | None = None
    ended: float | None = None
    server: tuple[int, int] = field(default_factory=lambda: (os.getpid(), start_time(os.getpid())))
    error: dict[str, str] | None = None

    @property
    def finished(self) -> bool:
        return self.status in FINISHED

    @property
    def seconds(self) -> float:
        """How long the job has run, or ran."""
        return (self.ended or time.time()) - (self.started or self.created)


class JobStore:
    """The folders of all jobs of this user on this machine, those of other servers among them."""

    def __init__(self, folder: Path) -> None:
        self.root = folder

    def create(self, tool: str, command: str, project_id: str) -> Record:
        """A new job with its folder."""
        record = Record(id=f"{command}-{secrets.token_hex(6)}", tool=tool, project_id=project_id)
        (self.root / record.id).mkdir(parents=True, mode=0o700)
        self.save(record)
        return record

    def folder(self, job_id: str) -> Path:
        """The folder of an existing job."""
        folder = self.root / job_id
        if not JOB_ID.fullmatch(job_id) or not (folder / RECORD).is_file():
            raise ToolError("not_found", f"There is no job {job_id!r}.", "Pass a job_id that a call of this server returned.")
        return folder

    def save(self, record: Record) -> None:
        """Write the record so that no reader ever sees half of it."""
        target = self.root / record.id / RECORD
        temporary = target.with_suffix(f".{secrets.token_hex(4)}")
        temporary.write_text(json.dumps(asdict(record)))
        temporary.replace(target)

    def load(self, job_id: str) -> Record:
        """The record as it is now; a job whose server is gone is `interrupted` from here on."""
        data = json.loads((self.folder(job_id) / RECORD).read_text())
        record = Record(**(data | {"server": tuple(data["server"])}))
        if not record.finished and not is_running(*record.server):
            record.status, record.ended = "interrupted", time.time()
            record.message = "The server that ran this job ended before it."
            self.save(record)
        return record

    def result(self, job_id: str) -> dict[str, Any] | None:
        """What the tool answered, if it did."""
        path = self.folder(job_id) / "answer.json"
        return cast(dict[str, Any], json.loads(path.read_text())) if path.is_file() else None

    def save_result(self, job_id: str, result: dict[str, Any]) -> None:
        (self.root / job_id / "answer.json").write_text(json.dumps(result))

    def file(self, job_id: str, kind: str) -> Path:
        """The log, report or plot of a job, as a file to read."""
        names = {
            "log": ("log.txt",),
            "report": ("report.html", "report.md", "report.json"),
            "plot": ("plot.svg", "plot.png"),
        }
        folder = self.folder(job_id)
        for name in names.get(kind, ()):
            if (folder / name).is_file():
                return folder / name
        raise ToolError("not_found", f"Job {job_id!r} has no {kind}.", "Look at get_job: it may have ended before writing one.")

    def tail(self, job_id: str, lines: int) -> list[str]:
        """The last `lines` lines of the log, each at most 400 characters, all at most 6,000."""
        path = self.folder(job_id) / "log.txt"
        if lines <= 0 or not path.is_file():
            return []
        with path.open(errors="replace") as stream:
            found = [line.rstrip("\n")[:400] for line in deque(stream, maxlen=lines)]
        while sum(map(len, found)) > 6000:
            found.pop(0)
        return found

    def append_log(self, job_id: str, text: str) -> None:
        with (self.root / job_id / "log.txt").open("a") as stream:
            stream.write(text.rstrip("\n") + "\n")

    def ask_to_cancel(self, job_id: str) -> None:
        """Leave word for the server that runs the job, whichever it is."""
        (self.folder(job_id) / CANCEL).touch()

    def is_asked_to_cancel(self, job_id: str) -> bool:
        return (self.root / job_id / CANCEL).exists()

    def prune(self, keep: int) -> None:
        """Remove the oldest finished jobs beyond `keep`."""
        if not self.root.is_dir():
            return
        folders = sorted((f for f in self.root.iterdir() if JOB_ID.fullmatch(f.name)), key=lambda f: f.stat().st_mtime)
        for folder in folders[: max(0, len(folders) - keep)]:
            try:
                finished = self.load(folder.name).finished
            except (ToolError, OSError, ValueError, TypeError):
                continue
            if finished:
                shutil.rmtree(folder, ignore_errors=True)
