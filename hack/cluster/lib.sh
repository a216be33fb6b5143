# shellcheck shell=bash
# What the scripts of hack/cluster share: where things are and how they speak. Sourced, never run.

cluster_dir=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
cache_root=${XDG_CACHE_HOME:-$HOME/.cache}/dovecote
state_root=${XDG_STATE_HOME:-$HOME/.local/state}/dovecote/cluster

say() { printf '[%4ds] %s\n' "$SECONDS" "$*" >&2; }
die() { printf '%s: %s\n' "$(basename -- "$0")" "$*" >&2; exit 1; }

# The header comment of the running script is its manual.
usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; }

# Installs those of the given Debian packages that are missing.
apt_install() {
  local missing=() package log install
  for package in "$@"; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "these packages are missing, and there is no apt-get to install them: ${missing[*]}"
  say "installing ${missing[*]}"
  log=$cache_root/apt.log
  # RUNLEVEL=1: Debian would start the containerd service, and the cluster runs its own.
  install=(env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}")
  mkdir -p -- "$cache_root"
  "${install[@]}" >"$log" 2>&1 || { apt-get update -qq && "${install[@]}"; } >"$log" 2>&1 ||
    die "apt-get could not install ${missing[*]}: see $log"
}

require_root_linux() {
  [ "$(uname -s)" = Linux ] || die "this needs Linux, and this machine runs $(uname -s); use kind or any other cluster and set KUBECONFIG"
  [ "$(id -u)" -eq 0 ] || die "this needs root (namespaces, mounts, containers); run it with sudo, or use kind and set KUBECONFIG"
}

# The folder of everything built: one per set of versions, so that an older checkout does not overwrite a newer one's.
bin_cache() {
  local key
  key=$(cd -- "$cluster_dir" && cat build go/*/go.* go/*/*.go | sha256sum | cut -c1-12)
  printf '%s/cluster/%s\n' "$cache_root" "$key"
}

# The process, as this machine numbers it, that is process 1 of the cluster in state folder $1. Fails when none runs.
# Found by its arguments and not by a recorded number, which a crash can leave missing or stale.
cluster_pid() {
  local file pid
  while read -r file; do
    pid=${file#/proc/}; pid=${pid%/cmdline}
    if grep -qzE '/node-init$' "$file" 2>/dev/null && grep -qE '^NSpid:.*\s1$' "/proc/$pid/status" 2>/dev/null; then
      printf '%s\n' "$pid"
      return
    fi
  done < <(grep -lzxF -- "$1" /proc/[0-9]*/cmdline 2>/dev/null)
  return 1
}

# What a cluster has outside its namespaces: its end of the network link, marked with the state folder, and a cgroup.
cluster_links() { { grep -lxF -- "$1" /sys/class/net/dovecote*/ifalias 2>/dev/null || true; } | cut -d/ -f5; }
cluster_cgroup() { printf '/dovecote-%s\n' "$(printf %s "$1" | sha256sum | cut -c1-8)"; }

# The state folder: --state, else the one of --name.
state_of() { realpath -m -- "${1:-$state_root/$2}"; }
