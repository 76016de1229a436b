"""The tool read_reference: the library behind a contract."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kernelwright.tools.read_reference.contract import ReadReferenceArgs
from kernelwright.tools.read_reference.run import run
from kernelwright.tools.tool import Context, ToolError


def test_index_guide_and_section(make_context: Callable[..., Context]) -> None:
    context = make_context()
    index = run(ReadReferenceArgs(), context)
    guide = run(ReadReferenceArgs(uri="softmax"), context)
    section = run(ReadReferenceArgs(uri=guide.uri, section="long-rows"), context)
    assert index.uri == "kernel://references"
    assert "- softmax: " in index.text
    assert guide.uri == "kernel://references/softmax"
    assert section.uri == "kernel://references/softmax/long-rows"
    assert section.markdown() == section.text


def test_an_unknown_guide_is_an_error_with_the_nearest(make_context: Callable[..., Context]) -> None:
    with pytest.raises(ToolError) as caught:
        run(ReadReferenceArgs(uri="soft-max"), make_context())
    assert caught.value.code == "not_found"
    assert caught.value.hint.startswith("Nearest: softmax")
