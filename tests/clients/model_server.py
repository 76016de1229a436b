"""A model that follows a script: the Responses API on loopback, for driving the real Codex without any model or account."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

NAMESPACE = "mcp__kernelwright"
_USAGE = {
    "input_tokens": 1,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 1,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 2,
}


@dataclass(frozen=True)
class Call:
    """A tool call that the scripted model makes."""

    tool: str
    arguments: dict[str, Any]


# Yields calls, is sent what the model is shown of each result, and ends with the model's last words.
Script = Generator[Call, str, str]


class ScriptedModel:
    """Answers `POST /v1/responses` by a script; `requests` keeps every body that a model would have received."""

    def __init__(self, script: Callable[[], Script]) -> None:
        self.requests: list[dict[str, Any]] = []
        self.failure: BaseException | None = None
        self._script = script()
        self._started = False
        self._lock = threading.Lock()
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                events = model.answer(body) if self.path.endswith("/responses") else []
                text = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *args: object) -> None:
                """Keep the tests' output to the tests."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Base URL of the API."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> ScriptedModel:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        """The events of one response: the script's next call, or its last words."""
        with self._lock:
            self.requests.append(body)
            item = self._next(body)
        number = len(self.requests)
        return [
            {"type": "response.created", "response": {"id": f"resp_{number}"}},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": {"id": f"resp_{number}", "usage": _USAGE}},
        ]

    def _next(self, body: dict[str, Any]) -> dict[str, Any]:
        try:
            call = self._script.send(shown(body)) if self._started else next(self._script)
            self._started = True
        except StopIteration as end:
            return _message(str(end.value))
        except Exception as error:
            # Raised in a thread of the server: kept for the test, and told to the client so that its turn ends.
            self.failure = error
            return _message(f"the script failed: {error!r}")
        number = f"call_{len(self.requests)}"
        return {
            "type": "function_call",
            "id": f"fc_{number}",
            "call_id": number,
            "name": call.tool,
            "namespace": NAMESPACE,
            "arguments": json.dumps(call.arguments),
        }


def shown(body: dict[str, Any]) -> str:
    """The result of the last tool call, as the model sees it in the request `body`."""
    outputs = [item["output"] for item in body["input"] if item.get("type") == "function_call_output"]
    last = outputs[-1] if outputs else ""
    if isinstance(last, str):
        return last
    return "".join(part.get("text", "") for part in last)


def _message(text: str) -> dict[str, Any]:
    return {
        "type": "message",
        "role": "assistant",
        "id": "msg_end",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }
