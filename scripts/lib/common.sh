# What the scripts of this folder share; sourced after `set -euo pipefail`. Leaves the shell in the
# repository's root.
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=.venv/bin/python

# say MESSAGE: one line about what happens next.
say() { printf '\n==> %s\n' "$*"; }

# fail MESSAGE HINT: the message and what to do about it; exit 1.
fail() {
  printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
  exit 1
}

# quietly LOG COMMAND...: runs the command, its output goes to LOG; shows LOG's end when it fails.
quietly() {
  local log=$1
  shift
  mkdir -p "$(dirname "$log")"
  printf '\n$ %s\n' "$*" >>"$log"
  if ! "$@" >>"$log" 2>&1 </dev/null; then
    printf 'failed: %s\nThe last lines of %s:\n' "$*" "$log" >&2
    tail -n 30 "$log" | sed 's/^/  | /' >&2
    return 1
  fi
}

# timed COMMAND...: runs the command and says how long it took.
timed() {
  local start=$SECONDS
  "$@"
  local taken=$((SECONDS - start))
  printf '    took %d min %02d s\n' $((taken / 60)) $((taken % 60))
}

# Open MPI refuses to start as root, and to start more ranks than cores, unless told otherwise.
allow_mpi_here() {
  export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
  if [ "$(id -u)" = 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  fi
}
