#!/usr/bin/env bash
# Applies each patch of mutants/ to a copy of the tree, one at a time, and has the world catch it.
#
#   tests/world/mutants.sh [NAME...]
#
# Each patch says in its head what it breaks, the seed, and the check that catches it. Fails where a patch no longer
# applies or builds, where a mutant is not caught by its check on its seed, and where the world itself fails on it.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
export CARGO_TARGET_DIR=${MUTANTS_TARGET_DIR:-$root/target/mutants} CARGO_INCREMENTAL=0

# What is tracked, as it stands in the working tree: the clone itself is never edited.
(cd "$root" && git ls-files -z --cached --others --exclude-standard | tar --null --ignore-failed-read -cf - -T -) | tar -xf - -C "$copy"
cp -r "$copy/src/core" "$copy/core.whole"

field() { sed -n "s/^# $1: //p" "$2"; }

# With little optimization: a mutant plays one seed, and is built anew each time.
build() {
    (cd "$copy" && cargo build --quiet --package world --offline --config 'profile.dev.package.world.opt-level=1')
}

patches=()
for patch in "$root"/tests/world/mutants/*.patch; do
    name=$(basename "$patch" .patch)
    if [ $# -eq 0 ] || [[ " $* " == *" $name "* ]]; then patches+=("$patch"); fi
done
if [ ${#patches[@]} -eq 0 ]; then
    echo "no such mutant" >&2
    exit 2
fi

build
for patch in "${patches[@]}"; do
    seed=$(field seed "$patch")
    if ! "$CARGO_TARGET_DIR/debug/world" "$seed" >"$copy/told"; then
        echo "seed $seed fails without a mutant:" >&2
        tail -n 2 "$copy/told" >&2
        exit 1
    fi
done
echo "the world itself passes on the seeds of ${#patches[@]} mutants"

failed=0
for patch in "${patches[@]}"; do
    name=$(basename "$patch" .patch) seed=$(field seed "$patch") check=$(field check "$patch")
    rm -rf "$copy/src/core" && cp -r "$copy/core.whole" "$copy/src/core"
    if ! (cd "$copy" && git apply --whitespace=nowarn "$patch"); then
        echo "FAILED   $name: the patch no longer applies"
        failed=1
        continue
    fi
    # Copies keep no order of time: whatever was patched is newer than what was built.
    find "$copy/src/core" -name '*.rs' -exec touch {} +
    if ! build; then
        echo "FAILED   $name: does not build"
        failed=1
        continue
    fi
    if timeout 120 "$CARGO_TARGET_DIR/debug/world" "$seed" >"$copy/told" 2>/dev/null; then
        echo "SURVIVED $name on seed $seed"
        failed=1
    elif [ "$(tail -n 1 "$copy/told")" = "VIOLATED $check seed $seed" ]; then
        echo "caught   $name by $check on seed $seed"
    else
        echo "FAILED   $name: not by $check on seed $seed, but: $(tail -n 1 "$copy/told")"
        failed=1
    fi
done
exit $failed
