#!/usr/bin/env bash
# Applies each patch of mutants/ to a copy of the tree, one at a time, and has a small world catch it.
#
#   tests/model/mutants.sh [NAME...]
#
# Each patch says in its head what it breaks, the small world, and the check that catches it there. Fails where a patch
# no longer applies or builds, and where a mutant is not caught by its check.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
export CARGO_TARGET_DIR=${MUTANTS_TARGET_DIR:-$root/target/mutants} CARGO_INCREMENTAL=0

# What is tracked, as it stands in the working tree: the clone itself is never edited.
(cd "$root" && git ls-files -z --cached --others --exclude-standard | tar --null --ignore-failed-read -cf - -T -) | tar -xf - -C "$copy"
cp -r "$copy/src/core" "$copy/core.whole"

field() { sed -n "s/^# $1: //p" "$2"; }

build() { (cd "$copy" && cargo build --quiet --package model --offline --config 'profile.dev.package.model.opt-level=1'); }

failed=0 tried=0
for patch in "$root"/tests/model/mutants/*.patch; do
    name=$(basename "$patch" .patch) plan=$(field world "$patch") check=$(field check "$patch")
    if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then continue; fi
    tried=$((tried + 1))
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
    if timeout 120 "$CARGO_TARGET_DIR/debug/model" "$plan" >"$copy/told" 2>/dev/null; then
        echo "SURVIVED $name in $plan"
        failed=1
    elif [ "$(tail -n 1 "$copy/told")" = "VIOLATED $check in $plan" ]; then
        echo "caught   $name by $check in $plan: $(sed -n 's/^.*is broken after \(.*\):$/\1/p' "$copy/told")"
    else
        echo "FAILED   $name: not by $check in $plan, but: $(tail -n 1 "$copy/told")"
        failed=1
    fi
done
[ "$tried" -gt 0 ] || { echo "no such mutant" >&2; exit 2; }
exit $failed
