"""Three levels of reading: index, guide, section; and a GPU's facts under the same verb."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernelwright.tools import reference_library
from kernelwright.tools.tool import ToolError


def test_without_uri_it_is_the_index() -> None:
    for uri in (None, "", "kernel://references", "kernel://references/"):
        found = reference_library.read(uri)
        assert (found.uri, found.text) == ("kernel://references", reference_library.index())


@pytest.mark.parametrize(
    "uri", ["kernel://references/reductions", "kernel://references/reductions/", "reductions", " reductions "]
)
def test_a_guide_lists_its_sections_without_their_text(uri: str) -> None:
    found = reference_library.read(uri)
    assert found.uri == "kernel://references/reductions"
    assert found.title == reference_library.guide("reductions").title
    assert "- warp-and-block: Warp and block (about " in found.text
    assert "__shfl_xor_sync" not in found.text
    assert "Read next: kernel://references/" in found.text


@pytest.mark.parametrize(
    ("uri", "section"),
    [
        ("kernel://references/reductions/warp-and-block", None),
        ("reductions/warp-and-block", None),
        ("reductions", "warp-and-block"),
        ("reductions", "Warp and block"),
    ],
)
def test_a_section_is_its_text(uri: str, section: str | None) -> None:
    found = reference_library.read(uri, section)
    assert found.uri == "kernel://references/reductions/warp-and-block"
    assert found.text.startswith("## Warp and block")
    assert "__shfl_xor_sync" in found.text
    assert "## How many threads" not in found.text


@pytest.mark.parametrize("spelling", ["h100", "sm_90", "NVIDIA%20H100".replace("%20", " ")])
def test_gpus_are_read_the_same_way(spelling: str) -> None:
    found = reference_library.read(f"kernel://arch/{spelling}")
    assert found.uri == "kernel://arch/h100"
    assert "228" in found.text
    assert "## Levers, most first" in found.text


@pytest.mark.parametrize(
    ("uri", "section", "code", "hint"),
    [
        ("reduction", None, "not_found", "reductions"),
        ("reductions/warps", None, "not_found", "warp-and-block"),
        ("reductions", "nowhere", "not_found", "long-rows-a-cluster"),
        ("kernel://nothing/x", None, "not_found", "kernel://references"),
        ("kernel://arch/h101", None, "unknown_arch", "h100"),
        (None, "tails", "bad_argument", "vectorization"),
    ],
)
def test_what_is_not_there_names_what_is(uri: str | None, section: str | None, code: str, hint: str) -> None:
    with pytest.raises(ToolError) as caught:
        reference_library.read(uri, section)
    assert caught.value.code == code
    assert hint in caught.value.hint


@given(st.text(max_size=60), st.one_of(st.none(), st.text(max_size=30)))
def test_any_text_is_answered_or_refused(uri: str, section: str | None) -> None:
    try:
        assert reference_library.read(uri, section).text
    except ToolError as error:
        assert error.code in {"not_found", "unknown_arch", "bad_argument"}


def test_every_uri_is_served_under_its_own_name() -> None:
    listed = reference_library.uris(sections=True)
    assert len({uri for uri, _ in listed}) == len(listed)
    for uri, title in listed:
        found = reference_library.read(uri)
        assert (found.uri, found.title) == (uri, title)
    assert set(reference_library.uris()) == {(uri, title) for uri, title in listed if uri.count("/") < 4}


GOOD = """---
title: A title
summary: one line.
group: Start
tokens: 100
applies_to: all
read_next: kernel://references/norms, kernel://arch/h100
---

Intro.

## First part

Text.

## Second, with `code`

More.
"""


def test_parse_reads_front_matter_and_sections() -> None:
    guide = reference_library.parse("sample", GOOD)
    assert (guide.title, guide.summary, guide.tokens) == ("A title", "one line", 100)
    assert guide.read_next == ("kernel://references/norms", "kernel://arch/h100")
    assert guide.intro == "Intro."
    assert list(guide.sections) == ["first-part", "second-with-code"]
    assert guide.sections["first-part"].text == "## First part\n\nText."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no front matter", "no front matter"),
        (GOOD.replace("tokens: 100\n", ""), "lacks tokens"),
        (GOOD.replace("Second, with `code`", "First part"), "two sections"),
    ],
)
def test_parse_refuses_what_is_written_otherwise(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reference_library.parse("sample", text)
