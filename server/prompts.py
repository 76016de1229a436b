"""The prompts of the contract, which Claude Code shows as slash commands."""

from __future__ import annotations

from dataclasses import dataclass
from string import Template
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError

RequestContext = ServerRequestContext[Any, Any]


@dataclass(frozen=True)
class Recipe:
    """A prompt: its words with `$argument` in them, and its arguments with their defaults (None: the caller must say)."""

    name: str
    title: str
    description: str
    arguments: dict[str, tuple[str, str | None]]
    words: str


RECIPES = (
    Recipe(
        "write_kernel",
        "Write a kernel",
        "Write a new GPU kernel for an operation, from guide to verdict",
        {
            "op": ("operation of the catalogue to start from", None),
            "arch": ("GPU", "auto"),
            "name": ("kernel name", "my-kernel"),
        },
        """\
Write a GPU kernel for `$op` named `$name`.
1. get_arch_guide(arch="$arch"), then read_reference() and the one guide that fits the operation.
2. scaffold_kernel(op="$op", name="$name"); for an operation that is not in the catalogue op="custom" with a reference, see the
   guide new-op. problem.py says what must be computed and where it is measured.
3. compile_kernel, mend what it reports, then run_benchmark. Only verdict `ok` counts.
4. Improve one thing at a time: say what should get faster and why, change it, measure, keep it only if it did.
Report the final table, the verdict, and what limits the kernel now.""",
    ),
    Recipe(
        "optimize_kernel",
        "Optimize a kernel",
        "Make an existing kernel project faster without changing what it computes",
        {"project": ("project directory or id", None), "arch": ("GPU", "auto")},
        """\
Make the kernel in `$project` faster on `$arch`. Do not edit problem.py.
1. run_benchmark(project="$project") for the starting point; compare GB/s with the copy bandwidth in the report.
2. get_arch_guide(arch="$arch"); find what limits the kernel: bytes moved, occupancy, latency, launch overhead.
3. One change at a time: predict, edit, compile_kernel, run_benchmark. Keep it only if the verdict is `ok` and the time fell.
Report before and after for every shape, the worst shape too.""",
    ),
    Recipe(
        "publish_kernel",
        "Publish a kernel",
        "Check a kernel project and publish it to the Hugging Face Kernel Hub",
        {"project": ("project directory or id", None), "repo_id": ("org/name on the Hub", None)},
        """\
Publish `$project` as `$repo_id`.
1. compile_kernel(project="$project", mode="release") and run_benchmark: both must be ok.
2. publish_to_hub(project="$project", repo_id="$repo_id"): a dry run. Mend every failed check.
3. Show the list of files and checks to the person and ask before calling it again with confirm=true.""",
    ),
)


class Prompts:
    """Lists and fills the recipes."""

    async def list_prompts(self, _: RequestContext, __: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
        return types.ListPromptsResult(prompts=[_describe(recipe) for recipe in RECIPES])

    async def get(self, _: RequestContext, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        recipe = next((recipe for recipe in RECIPES if recipe.name == params.name), None)
        if recipe is None:
            raise MCPError(types.INVALID_PARAMS, f"There is no prompt {params.name!r}: {', '.join(r.name for r in RECIPES)}.")
        given = params.arguments or {}
        values = {name: given.get(name) or default for name, (_, default) in recipe.arguments.items()}
        missing = [name for name, value in values.items() if value is None]
        if missing:
            raise MCPError(types.INVALID_PARAMS, f"{recipe.name} needs the argument {', '.join(missing)}.")
        text = Template(recipe.words).substitute(values)
        message = types.PromptMessage(role="user", content=types.TextContent(text=text))
        return types.GetPromptResult(description=recipe.description, messages=[message])


def _describe(recipe: Recipe) -> types.Prompt:
    return types.Prompt(
        name=recipe.name,
        title=recipe.title,
        description=recipe.description,
        arguments=[
            types.PromptArgument(name=name, description=words, required=default is None)
            for name, (words, default) in recipe.arguments.items()
        ],
    )
