"""Edit to result: compile_kernel beside torch.utils.cpp_extension.load, the same op, the same machine, one run.

    python benchmarks/compile_loop.py --out benchmarks/results/compile-loop.json

compile_kernel, called through a server on stdio that is started for this, builds the catalogue's rmsnorm (plain CUDA,
stable-ABI binding) into a package and imports it in a boxed process of its own; `load` builds the same op as tutorials write
it, one .cu file with torch/extension.h, and imports it in its own process, torch being imported already. Both start with empty
caches and compile for one architecture with all cores. Times are seconds of wall time as a client sees them; an edit adds a
line to the kernel's file. Run it on a quiet machine: the load average before it is written down.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from kernelwright.tools.compile_kernel import generated
from kernelwright.tools.toolchain import detect

ARCH = "sm_90a"
# What each number is, in the order of the table.
ROWS = {
    "first_cuda_fresh_server": "first build, CUDA, fresh server",
    "first_cuda_and_cpu_fresh_server": "first build, CUDA and CPU, fresh server",
    "first_cuda_and_cpu_running_server": "first build, CUDA and CPU, running server",
    "another_project_cuda": "the op under another name, CUDA, same server",
    "edit": "edit of the .cu to result, median",
    "edit_worst": "edit of the .cu to result, slowest",
    "unchanged": "nothing changed, median",
}
# What is comparable of `load`, which knows no server and builds for CUDA alone.
THEIRS = {"first_cuda_fresh_server": "first_cuda", "edit": "edit", "unchanged": "unchanged"}
USUAL = """\
#include <torch/extension.h>
#include <cuda_bf16.h>

__global__ void rmsnorm_kernel(__nv_bfloat16* out, const __nv_bfloat16* x, const __nv_bfloat16* w, int columns, float eps) {
  __shared__ float sums[32];
  const __nv_bfloat16* row = x + int64_t(blockIdx.x) * columns;
  float sum = 0.0f;
  for (int i = threadIdx.x; i < columns; i += blockDim.x) {
    float v = __bfloat162float(row[i]);
    sum += v * v;
  }
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffff, sum, offset);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
  __syncthreads();
  sum = 0.0f;
  for (unsigned i = 0; i < blockDim.x / 32; ++i) sum += sums[i];
  float scale = rsqrtf(sum / columns + eps);
  for (int i = threadIdx.x; i < columns; i += blockDim.x)
    out[int64_t(blockIdx.x) * columns + i] = __float2bfloat16(__bfloat162float(row[i]) * scale * __bfloat162float(w[i]));
}

torch::Tensor rmsnorm(torch::Tensor x, torch::Tensor w, double eps) {
  auto out = torch::empty_like(x);
  int columns = x.size(-1);
  rmsnorm_kernel<<<x.numel() / columns, 256>>>(reinterpret_cast<__nv_bfloat16*>(out.data_ptr()),
                                              reinterpret_cast<const __nv_bfloat16*>(x.data_ptr()),
                                              reinterpret_cast<const __nv_bfloat16*>(w.data_ptr()), columns, eps);
  return out;
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) { m.def("rmsnorm", &rmsnorm); }
"""


def main() -> None:
    """Measure both, print a table, write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=5, help="edits of ours; the median is given")
    parser.add_argument("--their-repeats", type=int, default=1, help="edits of theirs, about a minute each on two cores")
    parser.add_argument("--skip-load", action="store_true", help="measure compile_kernel alone")
    arguments = parser.parse_args()
    load_before, started = os.getloadavg()[0], datetime.now(UTC).isoformat(timespec="minutes")
    with tempfile.TemporaryDirectory() as scratch:
        ours = anyio.run(measure_ours, Path(scratch) / "ours", arguments.repeats)
        theirs = {} if arguments.skip_load else measure_load(Path(scratch) / "theirs", arguments.their_repeats)
    found = detect(Path(sys.executable))
    result = {
        "host": {
            "cores": len(os.sched_getaffinity(0)),
            "started": started,
            "load_average_before": round(load_before, 2),
            "nvcc": found.need_nvcc().version,
            "gxx": found.need_gxx().version,
            "torch": found.need_torch().version,
            "arch": ARCH,
        },
        "seconds": {"compile_kernel": ours, "cpp_extension.load": theirs},
        "times_faster": {THEIRS[key]: round(theirs[THEIRS[key]] / ours[key], 1) for key in list(THEIRS)[:2] if theirs},
    }
    print_table(ours, theirs)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def print_table(ours: dict[str, float], theirs: dict[str, float]) -> None:
    """Seconds of both, side by side."""
    print(f"{'seconds':46}{'compile_kernel':>16}{'cpp_extension.load':>20}")
    for key, words in ROWS.items():
        print(f"{words:46}{ours[key]:16.3f}" + (f"{theirs[THEIRS[key]]:20.3f}" if theirs and key in THEIRS else ""))


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Callable[[str, str], Awaitable[float]]]:
    """A server on stdio with empty caches and projects `rmsnorm`, `another` (the same), `softmax`; gives what compiles one."""
    folder.mkdir(parents=True)
    environment = os.environ | {f"XDG_{name}_HOME": str(folder / name) for name in ("CACHE", "STATE", "CONFIG")}
    run = ["-c", "from kernelwright.server.cli import main; main()", "serve"]
    server = StdioServerParameters(command=sys.executable, args=run, cwd=str(folder), env=environment)
    async with Client(stdio_client(server)) as client:

        async def build(project: str, backend: str) -> float:
            arguments = {"project": project, "backend": backend, "archs": [ARCH], "wait_s": 240}
            started = time.perf_counter()
            result = await client.call_tool("compile_kernel", arguments)
            seconds = round(time.perf_counter() - started, 4)
            assert result.structured_content and result.structured_content["status"] == "ok", result.content
            return seconds

        for name, op in (("rmsnorm", "rmsnorm"), ("another", "rmsnorm"), ("softmax", "softmax")):
            await client.call_tool("scaffold_kernel", {"op": op, "name": name, "directory": name})
        yield build


async def measure_ours(folder: Path, repeats: int) -> dict[str, float]:
    """First builds with nothing cached, an edit of the .cu, no edit, another project; the import check is in all of them."""
    async with serving(folder / "first") as build:
        first_cuda = await build("rmsnorm", "cuda")
    async with serving(folder / "loop") as build:
        first_all = await build("rmsnorm", "all")
        source = next((folder / "loop/rmsnorm/rmsnorm_cuda").glob("*.cu"))
        text = source.read_text(encoding="utf-8")
        edits = []
        for number in range(repeats):
            source.write_text(f"{text}\n__device__ int edited_{number}() {{ return {number}; }}\n", encoding="utf-8")
            edits.append(await build("rmsnorm", "cuda"))
        unchanged = [await build("rmsnorm", "cuda") for _ in range(repeats)]
        another = await build("another", "cuda")
    async with serving(folder / "running") as build:
        await build("softmax", "cpu")
        running_all = await build("rmsnorm", "all")
    return {
        "first_cuda_fresh_server": first_cuda,
        "first_cuda_and_cpu_fresh_server": first_all,
        "first_cuda_and_cpu_running_server": running_all,
        "another_project_cuda": another,
        "edit": round(statistics.median(edits), 3),
        "edit_worst": max(edits),
        "unchanged": round(statistics.median(unchanged), 4),
    }


def measure_load(folder: Path, repeats: int) -> dict[str, float]:
    """The same with torch's own loader, in one process that has torch imported."""
    folder.mkdir(parents=True)
    cache = folder / "cache"
    found = detect(Path(sys.executable))
    stubs = generated.stubs(generated.folder(cache), found)
    argv = [sys.executable, __file__, "--load-worker", str(folder), str(stubs), str(found.cuda_home), str(repeats)]
    out = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(out.stdout.splitlines()[-1]))


def load_worker(folder: Path, stubs: str, cuda_home: str, repeats: int) -> None:
    """Runs in its own process: builds, edits and builds again with cpp_extension.load."""
    os.environ["TORCH_CUDA_ARCH_LIST"] = "9.0a"
    os.environ["CUDA_HOME"] = cuda_home
    from torch.utils import cpp_extension

    # A CPU build of torch knows no CUDA_HOME and lacks the two libraries that every CUDA extension is linked with.
    cpp_extension.CUDA_HOME = cuda_home
    source = folder / "rmsnorm.cu"
    source.write_text(USUAL, encoding="utf-8")
    (folder / "build").mkdir()

    def build() -> Any:
        return cpp_extension.load(
            name="usual_rmsnorm",
            sources=[str(source)],
            build_directory=str(folder / "build"),
            extra_ldflags=[f"-L{stubs}"],
            extra_cuda_cflags=["-O3"],
            with_cuda=True,
        )

    first = timed(build)
    edits = []
    for number in range(repeats):
        source.write_text(f"{USUAL}\n__device__ int edited_{number}() {{ return {number}; }}\n", encoding="utf-8")
        edits.append(timed(build))
    print(json.dumps({"first_cuda": first, "edit": round(statistics.median(edits), 3), "unchanged": round(timed(build), 4)}))


def timed(action: Callable[[], Any]) -> float:
    """Wall seconds of one call."""
    started = time.perf_counter()
    action()
    return round(time.perf_counter() - started, 4)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--load-worker"]:
        load_worker(Path(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5]))
    else:
        main()
