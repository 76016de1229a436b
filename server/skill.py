"""The guides as an agent skill (agentskills.io): for agents that work where no Kernelwright server runs, and over MCP."""

from __future__ import annotations

import re
from pathlib import Path

from kernelwright.tools import arch_guidance, archs, reference_library
from kernelwright.tools.tool import ToolError

NAME = "kernelwright"
DESCRIPTION = (
    "Write, optimize, check, benchmark and publish CUDA, C++ and Triton kernels for torch: RMSNorm, softmax, RoPE, gated "
    "activations, AdaLN, reductions; facts of NVIDIA GPUs from T4 to B200; stable-ABI bindings, torch.compile, transformers, "
    "diffusers, the Hugging Face Kernel Hub. Use when a task mentions GPU kernels, nvcc, .cu files, memory bandwidth, "
    "occupancy, kernel-builder or a slow operator."
)
# Where each client looks for the skills of its user.
_HOMES = {
    "codex": Path(".agents/skills"),
    "claude": Path(".claude/skills"),
    "opencode": Path(".config/opencode/skills"),
    "cursor": Path(".cursor/skills"),
}

_BODY = """\
# GPU kernels with Kernelwright

If the tools of the MCP server `kernelwright` are there, work with them; they compile, check and time for real:
get_arch_guide -> scaffold_kernel -> compile_kernel -> run_benchmark -> edit -> publish_to_hub (a dry run until a person
confirms). The same as commands: `kernelwright guide h100`, `scaffold rmsnorm NAME`, `compile DIR`, `benchmark DIR`.

Without them, the files here say the same; read one at a time:

- [the index](references/index.md): all guides, a line each
- [the loop and a project's files](references/workflow.md), [an op of your own](references/new-op.md)
- facts of one GPU: `references/gpu-h100.md`, `gpu-a100.md`, `gpu-rtx4090.md` …; all in [gpus](references/gpus.md)
- [when something fails](references/troubleshooting.md)

Rules that hold everywhere:

1. Count the bytes first. Most kernels are limited by memory: read each byte once, 16 bytes a load, several loads in flight.
2. Accumulate in float32, round once. Row offsets are 64-bit. Odd widths and slices must work.
3. Launch on torch's current stream; never synchronise, never keep results between calls.
4. No torch header in a `.cu`; the binding uses torch's stable ABI.
5. Believe only measured times: cold L2, correctness against float64, torch.compile as a baseline. 85 % of a measured copy
   is done.
6. State no number that was not measured, and name GPU and torch version beside it.
"""


def skill_files() -> dict[str, str]:
    """The skill's files, {path below its folder: text}: ``SKILL.md`` and one file a guide and a GPU under ``references``."""
    files = {"SKILL.md": f"---\nname: {NAME}\ndescription: >-\n  {DESCRIPTION}\nlicense: Apache-2.0\n---\n\n{_BODY}"}
    files["references/index.md"] = _linked(_index())
    for name in reference_library.names():
        files[f"references/{name}.md"] = _linked(_guide(name))
    for arch in archs.all_archs():
        files[f"references/gpu-{arch.key}.md"] = _linked(arch_guidance.as_markdown(arch) + "\n")
    return files


def write_skill(destination: Path) -> list[Path]:
    """Write the skill to ``destination/kernelwright`` and return its files.

    `destination` is a folder of skills. Files of an older version are replaced and removed; raises `ToolError` `conflict`,
    and writes nothing, if another skill or anything else lies there.
    """
    folder = destination.expanduser() / NAME
    _check_ours(folder)
    files = skill_files()
    stale = [old for old in (folder / "references").glob("*.md") if f"references/{old.name}" not in files]
    for old in stale:
        old.unlink()
    written = []
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        written.append(target)
    return written


def skill_home(client: str, home: Path | None = None) -> Path:
    """The folder of skills of `client` (codex, claude, opencode, cursor) below the user's home; a `write_skill` destination."""
    if client not in _HOMES:
        raise ToolError(
            "bad_argument", f"No place for skills of {client!r} is known.", f"Pass --dest, or one of {', '.join(_HOMES)}."
        )
    return (home or Path.home()) / _HOMES[client]


def _check_ours(folder: Path) -> None:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ToolError("conflict", f"{folder} is no folder of its own.", "Remove it, or choose another destination.")
    if not folder.exists() or not any(folder.iterdir()):
        return
    present = folder / "SKILL.md"
    if not present.is_file() or f"name: {NAME}\n" not in present.read_text(encoding="utf-8"):
        raise ToolError("conflict", f"{folder} holds something else.", "Move it away, or choose another destination.")


def _index() -> str:
    lines = ["# Kernel guides", "", "One file a guide, beside this one; `gpu-<name>.md` has the facts of a GPU."]
    for group in reference_library.GROUPS:
        lines += ["", f"## {group}", ""]
        guides = (reference_library.guide(name) for name in reference_library.names())
        lines += [f"- [{g.name}](references/{g.name}.md): {g.summary}" for g in guides if g.group == group]
    return "\n".join(lines) + "\n"


def _guide(name: str) -> str:
    guide = reference_library.guide(name)
    following = ", ".join(guide.read_next)
    return f"# {guide.title}\n\n{guide.summary}. Applies to: {guide.applies_to}.\n\n{guide.body}\n\nRead next: {following}\n"


def _linked(text: str) -> str:
    """`text` with the URIs of guides and GPUs turned into paths below the skill's folder."""
    text = re.sub(r"kernel://references/([a-z0-9-]+)(?:/([a-z0-9-]+))?", _path, text)
    text = text.replace(reference_library.ROOT_URI, "references/index.md")
    return re.sub(r"kernel://arch/([a-z0-9-]+)", r"references/gpu-\1.md", text)


def _path(match: re.Match[str]) -> str:
    return f"references/{match[1]}.md" + (f"#{match[2]}" if match[2] else "")
