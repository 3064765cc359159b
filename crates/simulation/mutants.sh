#!/usr/bin/env bash
# Applies each patch of mutants/ to a copy of the tree, one at a time, and has the simulated world and the model checker
# catch it.
#
#   crates/simulation/mutants.sh [NAME...]
#
# Each patch says in its head what it breaks, and who catches it:
#
#   # breaks: ...
#   # seed: SEED CHECK       the simulated world (crates/simulation), on that seed, by that check
#   # model: WORLD CHECK     the model checker (crates/model-check), in that small world, by that check
#
# A patch is what `git diff -U1` says, and no hunk of it only adds: it is found by the lines that it takes away, wherever they
# have moved in their file and whatever has become of the lines around them.
#
# Fails where a patch no longer applies or builds, where a mutant is not caught by the check that it names, and where the
# simulated world itself fails on the seed. (The model checker's own worlds are whole: `cargo test -p model-check`.)
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
# Incremental, whatever the caller builds with: for each mutant the whole crate is built anew, and differs in a few lines.
export CARGO_TARGET_DIR=${MUTANTS_TARGET_DIR:-$root/target/mutants} CARGO_INCREMENTAL=1
bin=$CARGO_TARGET_DIR/debug
# Always the same place: cargo tells crates apart by their path, and would start from nothing in another.
copy=$CARGO_TARGET_DIR/copy
mkdir -p "$CARGO_TARGET_DIR"
exec 9>"$CARGO_TARGET_DIR/copy.lock"
if ! flock --nonblock 9; then
    echo "another run uses $CARGO_TARGET_DIR" >&2
    exit 2
fi
rm -rf "$copy"
mkdir "$copy"
trap 'rm -rf "$copy"' EXIT

# What is tracked, as it stands in the working tree: the clone itself is never edited. All of it is new (-m): what was built
# last, of a mutant, may be newer than the sources.
(cd "$root" && git ls-files -z --cached --others --exclude-standard | tar --null --ignore-failed-read -cf - -T -) |
    tar -xmf - -C "$copy"
cp -r "$copy/src/core" "$copy/core.whole"

field() { sed -n "s/^# $1: //p" "$2"; }

# Without optimization: a mutant plays one seed and a part of one small world, and is built anew each time. Both in one build:
# apart, what they share would be built twice.
build() {
    (cd "$copy" && cargo build --quiet --offline --package simulation --package model-check \
        --config 'profile.dev.package.simulation.opt-level=0' --config 'profile.dev.package.model-check.opt-level=0')
}

# judge NAME BY EXPECTED COMMAND...: runs the command, whose last line must be the one expected. What bounds it is the length
# of a seed, and the states of a world; the time, only where neither comes to an end.
judge() {
    local name=$1 by=$2 expected=$3
    shift 3
    if timeout 3600 "$@" >"$copy/told" 2>/dev/null; then
        echo "SURVIVED $name: $by"
    elif [ "$(tail -n 1 "$copy/told")" = "$expected" ]; then
        echo "caught   $name: $by"
        return
    else
        echo "FAILED   $name: not $by, but: $(tail -n 1 "$copy/told")"
    fi
    failed=1
}

patches=()
for patch in "$root"/crates/simulation/mutants/*.patch; do
    name=$(basename "$patch" .patch)
    if [ $# -eq 0 ] || [[ " $* " == *" $name "* ]]; then patches+=("$patch"); fi
done
if [ ${#patches[@]} -eq 0 ]; then
    echo "no such mutant" >&2
    exit 2
fi

build
for patch in "${patches[@]}"; do
    read -r seed _ <<<"$(field seed "$patch")"
    if [ -n "$seed" ] && ! "$bin/simulation" "$seed" >"$copy/told"; then
        echo "seed $seed fails without a mutant:" >&2
        tail -n 2 "$copy/told" >&2
        exit 1
    fi
done
echo "the world itself passes on the seeds of ${#patches[@]} mutants"

failed=0
for patch in "${patches[@]}"; do
    name=$(basename "$patch" .patch)
    read -r seed by_world <<<"$(field seed "$patch")"
    read -r plan by_model <<<"$(field model "$patch")"
    rm -rf "$copy/src/core" && cp -r "$copy/core.whole" "$copy/src/core"
    # By the lines that it takes away alone, where the lines around them have changed (-C0).
    if ! (cd "$copy" && git apply -C0 --whitespace=nowarn "$patch") 2>"$copy/told"; then
        echo "FAILED   $name: the patch no longer applies"
        cat "$copy/told"
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
    if [ -n "$seed" ]; then
        judge "$name" "by $by_world on seed $seed" "VIOLATED $by_world seed $seed" "$bin/simulation" "$seed"
    fi
    if [ -n "$plan" ]; then
        judge "$name" "by $by_model in the small world $plan" "VIOLATED $by_model in $plan" env MODEL_THREADS=1 "$bin/model-check" "$plan"
    fi
    if [ -z "$seed$plan" ]; then
        echo "FAILED   $name: names nobody who catches it"
        failed=1
    fi
done
exit $failed
