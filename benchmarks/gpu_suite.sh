#!/usr/bin/env bash
# Everything that needs a GPU, in one command: demo, GPU facts, judge, catalogue, its own checks, tests. Each part leaves its JSON
# and log in OUT_DIR; a short table stands last.
#
#   bash benchmarks/gpu_suite.sh OUT_DIR [part ...]        parts: demo specs judge catalogue checks tests (default: all)
#
# Needs kernelwright[host] for the Python named by PYTHON (default python3). CATALOGUE_FLAGS and JUDGE_FLAGS are passed on.
set -u
out=$(mkdir -p "$1" && cd "$1" && pwd)
shift
parts=${*:-demo specs judge catalogue checks tests}
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
summary=()

part() {
    local name=$1 began=$SECONDS
    shift
    "$@" >"$out/$name.log" 2>&1
    local code=$?
    summary+=("$(printf '%-10s %-8s %5d s' "$name" "$([ $code = 0 ] && echo ok || echo "rc $code")" $((SECONDS - began)))")
    tail -n "${TAIL:-25}" "$out/$name.log"
}

for name in $parts; do
    echo "== $name"
    case $name in
    demo) part demo sh -c "$python -m kernelwright.server.cli demo --json --keep '$out/demo-project' >'$out/demo.json'" ;;
    specs) part specs "$python" benchmarks/specs_on_device.py --out "$out/specs.json" ;;
    judge) part judge "$python" benchmarks/judge_gpu.py --out "$out/judge.json" ${JUDGE_FLAGS:-} ;;
    catalogue) part catalogue "$python" benchmarks/catalogue.py --out "$out/catalogue.json" ${CATALOGUE_FLAGS:-} ;;
    checks) part checks "$python" benchmarks/catalogue_checks.py --out "$out/checks.json" ;;
    tests) part tests "$python" -m pytest -q -m gpu -p no:cacheprovider ;;
    *) echo "no part is called $name" ;;
    esac
done
rm -rf "$out/demo-project"
echo "== summary ($(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null || echo 'no GPU'), $(date -u +%F))"
printf '%s\n' "${summary[@]}"
