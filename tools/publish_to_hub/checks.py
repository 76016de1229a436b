"""Is the project fit to be published: its name, licence, card, tests, and nothing in it that must not leave this host?"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from kernelwright.tools.project import Project
from kernelwright.tools.publish_to_hub import card, leaks, package, variant_checks
from kernelwright.tools.publish_to_hub.contract import Check
from kernelwright.tools.publish_to_hub.leaks import Leak
from kernelwright.tools.publish_to_hub.package import Upload, Variant
from kernelwright.tools.tool import Context, ToolError, summarise

# The Hub's own rule: 96 characters, no dash or dot at an end, none of them twice.
_REPO_ID = re.compile(r"[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?/[A-Za-z0-9_]([\w.-]*[A-Za-z0-9_])?", re.ASCII)


def repo_id(given: str, project: Project | None) -> Check:
    """Whether `given` may name a repository of the Hub, and this project's."""
    problem = repo_id_problem(given)
    if not problem and project is not None:
        problem = _other_name(given, project)
    return Check(name="repo_id", ok=not problem, detail=problem)


def repo_id_problem(given: str) -> str:
    """Why the Hub would refuse `given` as org/name, or an empty string."""
    if not _REPO_ID.fullmatch(given) or "--" in given or ".." in given or len(given) > 96 or given.endswith(".git"):
        return (
            f"{summarise(given, 120)!r} is no org/name of the Hub: two names of letters, digits, '-', '_' and '.', at most 96 "
            "characters, no '--' or '..'."
        )
    return ""


def _other_name(given: str, project: Project) -> str:
    declared = project.build.repo_id
    if declared and declared != given:
        return f"build.toml says general.hub.repo-id = {declared!r}: publish there, or change it."
    name = given.rpartition("/")[2]
    if name == project.name or declared == given or given in (card.read(project) or ""):
        return ""
    return (
        f"The repository is called {name!r}, the project {project.name!r}. Publish to "
        f"{given.rpartition('/')[0]}/{project.name}, or name {given} in CARD.md or in general.hub.repo-id."
    )


def project(opened: Project, built: Sequence[Variant], chosen: Sequence[Variant], given: str) -> list[Check]:
    """The checks of all that is not a binary."""
    return [
        repo_id(given, opened),
        Check(name="build.toml", ok=True, detail=f"{opened.name} version {opened.build.version}"),
        _license(opened),
        _card(opened, given),
        _variants(opened, built, chosen),
        _present(
            "tests",
            len(package.tests(opened)),
            "tests/test_*.py",
            "Write tests/test_<op>.py: users run them before they trust it.",
        ),
        _present(
            "benchmark",
            len(package.benchmarks(opened)),
            "benchmarks/benchmark*.py",
            "Write benchmarks/benchmark.py, a subclass of kernels.benchmark.Benchmark.",
        ),
    ]


def files(uploads: Sequence[Upload], opened: Project, context: Context) -> list[Check]:
    """The checks of every file that would be uploaded: no credentials, no paths of this host."""
    places = leaks.local_places(opened.path, context.host_python, context.cache, context.folder, *context.roots)
    secrets: list[Leak] = []
    paths: list[Leak] = []
    for upload in uploads:
        content = upload.content
        secrets += leaks.secrets(upload.path, content)
        paths += leaks.paths(upload.path, content, places)
    return [
        _leaks("secrets", secrets, "Remove it, compile again, and withdraw that credential: it has been in a file."),
        _leaks("paths", paths, "Write them relative to the package, or read them from the environment."),
    ]


def _leaks(name: str, found: Sequence[Leak], mend: str) -> Check:
    if not found:
        return Check(name=name, ok=True)
    said = [f"{leak.file} holds {leak.what}" for leak in found[:3]]
    more = [f"and {len(found) - 3} more"] if len(found) > 3 else []
    return Check(name=name, ok=False, detail=f"{summarise('; '.join([*said, *more]), 400)}. {mend}")


def _license(opened: Project) -> Check:
    stated = opened.build.license.strip()
    if stated and stated.lower() != "other":
        return Check(name="license", ok=True, detail=stated)
    if (opened.path / "LICENSE").is_file():
        return Check(name="license", ok=True, detail="LICENSE")
    return Check(name="license", ok=False, detail="Write general.license in build.toml, e.g. 'Apache-2.0', or add LICENSE.")


def _card(opened: Project, given: str) -> Check:
    text = card.read(opened)
    if text is None:
        return Check(name="card", ok=False, detail="CARD.md is missing; it becomes the repository's README.md.")
    problem = card.problem(card.fill(text, opened, given), opened)
    return Check(name="card", ok=not problem, detail=f"CARD.md: {problem}." if problem else "")


def _variants(opened: Project, built: Sequence[Variant], chosen: Sequence[Variant]) -> Check:
    if not built:
        return Check(name="variants", ok=False, detail="None is built: compile_kernel(project, mode='release') builds them.")
    backends = {str(_backend(variant)) for variant in chosen}
    missing = [backend for backend in opened.backends if backend not in backends]
    note = f"; none for {', '.join(missing)}, which build.toml declares" if missing else ""
    return Check(name="variants", ok=True, detail=f"{len(chosen)} of {len(built)} built{note}")


def _backend(variant: Variant) -> object:
    described = variant_checks.metadata(variant).get("backend")
    return described.get("type") if isinstance(described, dict) else None


def _present(name: str, count: int, pattern: str, mend: str) -> Check:
    return Check(
        name=name, ok=count > 0, detail=f"{count} file{'s' * (count > 1)}" if count else f"There is no {pattern}. {mend}"
    )


def guarded(name: str, make: Callable[[], list[Check]]) -> list[Check]:
    """What `make` finds; a ToolError on the way is a failed check called `name`."""
    try:
        return make()
    except ToolError as error:
        return [Check(name=name, ok=False, detail=summarise(f"{error.message} {error.hint}", 400))]
