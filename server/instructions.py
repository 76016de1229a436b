"""What a model reads before anything else. Codex shows about the first 250 characters, so they must stand alone."""

INSTRUCTIONS = """\
Write, compile, check, time and publish CUDA/C++ kernels for PyTorch on a GPU host. Order: get_arch_guide, scaffold_kernel, \
edit, compile_kernel, run_benchmark, publish_to_hub. status=running: call get_job(job_id).
Guides: read_reference. Edit `<name>_cuda/*.cu` and compile after each change (seconds); errors carry file, line and hint. \
Only verdict `ok` counts: correct and honestly timed. Over HTTP send edited files as `files` {path: text}.
"""
assert len(INSTRUCTIONS.split("\n")[0]) <= 250
