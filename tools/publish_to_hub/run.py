"""The tool publish_to_hub: check the project and what is built, list what would be uploaded, and upload it if told to."""

from __future__ import annotations

from collections.abc import Sequence

from kernelwright.tools.project import Project
from kernelwright.tools.publish_to_hub import checks, hub, package, variant_checks
from kernelwright.tools.publish_to_hub.contract import Check, PublishArgs, PublishedFile, PublishResult
from kernelwright.tools.publish_to_hub.package import Upload, Variant
from kernelwright.tools.tool import Context, ToolError

# A result stays under 10 kB, checks and all.
_LISTED_BYTES = 3000


def run(args: PublishArgs, context: Context) -> PublishResult:
    """Check, list, and with `confirm` upload if all is well. Raises ToolError for an unknown variant or a Hub that refuses."""
    folder = context.existing_project()
    context.progress("checking", "build.toml")
    if not (folder / "build.toml").is_file():
        raise ToolError("not_found", "There is no build.toml in the project.", "Publish a project that scaffold_kernel made.")
    try:
        project = Project.open(folder)
    except ToolError as error:
        broken = Check(name="build.toml", ok=False, detail=f"{error.message} {error.hint}")
        return _result(args, context, "", (), (), [checks.repo_id(args.repo_id, None), broken])
    built = package.variants(project)
    chosen = package.choose(built, args.variants)
    found = checks.guarded("project", lambda: checks.project(project, built, chosen, args.repo_id))
    context.progress("checking", f"{len(chosen)} variants")
    found += checks.guarded("complete", lambda: variant_checks.check(project, chosen, context))
    uploads: Sequence[Upload] = ()
    try:
        uploads = package.uploads(project, chosen, args.repo_id)
        context.progress("checking", f"{len(uploads)} files")
        found += checks.files(uploads, project, context)
    except ToolError as error:
        found.append(Check(name="files", ok=False, detail=f"{error.message} {error.hint}"))
    result = _result(args, context, package.revision(project), uploads, chosen, found)
    if not args.confirm or result.status != "ok":
        return result
    published = hub.publish(args.repo_id, result.revision, uploads, chosen, create_pr=args.create_pr, progress=context.progress)
    return result.model_copy(update={"commit": published.commit, "url": published.url})


def _result(
    args: PublishArgs,
    context: Context,
    revision: str,
    uploads: Sequence[Upload],
    chosen: Sequence[Variant],
    found: Sequence[Check],
) -> PublishResult:
    listed = _listed(uploads)
    valid = not checks.repo_id_problem(args.repo_id)
    with context.log.open("a", encoding="utf-8") as log:
        log.writelines(f"[{'x' if check.ok else ' '}] {check.name}: {check.detail}\n" for check in found)
        log.writelines(f"{upload.branch} {upload.path} {upload.size} B\n" for upload in uploads)
    return PublishResult(
        status="ok" if all(check.ok for check in found) else "failed",
        job_id=context.job_id,
        repo_id=args.repo_id,
        revision=revision,
        url=hub.page(args.repo_id, revision) if valid and revision else "",
        files=listed,
        more_files=len(uploads) - len(listed),
        variants=[variant.name for variant in chosen],
        checks=list(found),
        log_uri=context.uri("log"),
    )


def _listed(uploads: Sequence[Upload]) -> list[PublishedFile]:
    listed: list[PublishedFile] = []
    room = _LISTED_BYTES
    for upload in uploads:
        room -= len(upload.path) + 30
        if room < 0:
            break
        listed.append(PublishedFile(path=upload.path, bytes=upload.size))
    return listed
