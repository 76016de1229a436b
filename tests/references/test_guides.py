"""The guides are written as the library wants them, cost the tokens they say, and lead everywhere."""

from __future__ import annotations

import re
from functools import cache

import pytest
from guide_blocks import GUIDES

from kernelwright.tools import arch_guidance, archs, reference_library

URI = re.compile(r"kernel://[a-z]+(?:/[A-Za-z0-9_-]+)*")
ARCHS = [arch.key for arch in archs.all_archs()]


@cache
def tokens(text: str) -> int:
    # Imported here: a GPU machine collects these tests and need not have the tokenizer.
    import bpe_openai

    return len(bpe_openai.get_encoding("o200k_base").encode(text))


@pytest.mark.parametrize("name", reference_library.names())
def test_front_matter_is_yaml_and_true(name: str) -> None:
    import yaml

    text = (GUIDES / f"{name}.md").read_text(encoding="utf-8")
    matter = yaml.safe_load(text.split("---\n")[1])
    guide = reference_library.guide(name)
    assert (matter["title"], matter["summary"]) == (guide.title, guide.summary)
    assert guide.group in reference_library.GROUPS
    assert guide.tokens == pytest.approx(tokens(guide.body), rel=0.1)
    assert guide.intro
    assert guide.sections


@pytest.mark.parametrize("name", reference_library.names())
def test_sections_are_small_enough_to_read_alone(name: str) -> None:
    for section in reference_library.guide(name).sections.values():
        assert tokens(section.text) <= 1100, section.title
        assert section.tokens == pytest.approx(tokens(section.text), rel=0.4, abs=30), section.title


def test_index_is_short_and_names_every_guide() -> None:
    index = reference_library.index()
    assert tokens(index) < 550
    listed = re.findall(r"(?m)^- ([a-z0-9-]+): ", index)
    assert listed == list(reference_library.names())
    assert set(listed) == {path.stem for path in GUIDES.glob("*.md")}
    assert listed[0] == "workflow"


@pytest.mark.parametrize("key", ARCHS)
def test_guidance_is_at_most_600_tokens(key: str) -> None:
    text = arch_guidance.guidance(archs.resolve(key))
    assert tokens(text) <= 600
    assert "$" not in text
    assert ("no data sheet states" in text) == (key == "gb10")


@pytest.mark.parametrize("key", ARCHS)
def test_what_an_agent_needs_to_start_is_under_2500_tokens(key: str) -> None:
    arch = archs.resolve(key)
    first = reference_library.guide(arch_guidance.read_next(arch)[0])
    section = max(first.sections.values(), key=lambda s: s.tokens)
    text = reference_library.index() + arch_guidance.as_markdown(arch) + section.text
    assert tokens(text) < 2500


@pytest.mark.parametrize("name", reference_library.names())
def test_every_uri_of_a_guide_resolves(name: str) -> None:
    guide = reference_library.guide(name)
    assert guide.read_next
    for uri in [*guide.read_next, *URI.findall(guide.body)]:
        if not uri.startswith(("kernel://ops", "kernel://jobs", "kernel://projects")):
            assert reference_library.read(uri).text


def test_every_reference_is_two_steps_from_the_index() -> None:
    reached = {reference_library.ROOT_URI}
    for name in re.findall(r"(?m)^- ([a-z0-9-]+): ", reference_library.index()):
        overview = reference_library.read(name)
        reached.add(overview.uri)
        reached |= {f"{overview.uri}/{slug}" for slug in re.findall(r"(?m)^- ([a-z0-9-]+): .* tokens\)$", overview.text)}
    rows = re.findall(r"(?m)^\| ([a-z0-9-]+) \|", reference_library.read("gpus", "table").text)
    reached |= {f"{reference_library.ARCH_URI}/{key}" for key in rows}
    assert {uri for uri, _ in reference_library.uris(sections=True)} <= reached


def test_the_table_of_gpus_is_specs_toml() -> None:
    text = reference_library.read("gpus", "table").text
    table = [re.split(r" *\| *", line.strip("| ")) for line in text.splitlines() if "|" in line]
    rows = {key: rest for key, *rest in table}
    for arch in archs.all_archs():
        spec = archs.specs(arch)
        keys = ("sms", "memory_gb", "bandwidth_gbps", "l2_mb", "fp32_tflops", "bf16_tflops", "fp8_tflops")
        numbers = [f"{spec[key]:g}" if key in spec else "-" for key in keys]
        assert rows[arch.key] == [arch.compute_capability, *numbers, arch.target]


@pytest.mark.parametrize("uri", [uri for uri, _ in reference_library.uris(sections=True)])
def test_no_answer_is_over_10_kb(uri: str) -> None:
    assert len(reference_library.read(uri).text.encode()) < 10_000


def test_words_that_agents_search_for_lead_somewhere() -> None:
    words = """
        vectorized, coalescing, RMSNorm, LayerNorm, softmax, RoPE, SwiGLU, AdaLN, attention, TMA, wgmma, tcgen05, CUDA graphs,
        tolerances, ncu, stable ABI, torch.compile, transformers, diffusers, Triton, Nix, Troubleshooting, AGENTS.md,
        codex exec, cp.async, Hub
    """.replace("\n", " ")
    guides = [reference_library.guide(name) for name in reference_library.names()]
    described = " ".join(f"{guide.title} {guide.summary}" for guide in guides).lower()
    assert [word for word in words.split(",") if word.strip().lower() not in described] == []
