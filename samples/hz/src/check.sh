#!/bin/sh
# Every input must come back unchanged, a long one smaller; damage must be noticed.
set -eu
hz=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

: > "$work/empty"
printf 'x' > "$work/one"
seq 1 200000 > "$work/numbers"
head -c 300000 /dev/urandom > "$work/noise"

for name in empty one numbers noise; do
    "$hz" "$work/$name" > "$work/packed"
    "$hz" -d "$work/packed" | cmp - "$work/$name"
    echo "ok $name: $(wc -c < "$work/$name") -> $(wc -c < "$work/packed") bytes"
done

"$hz" "$work/numbers" > "$work/packed"
test "$(wc -c < "$work/packed")" -lt "$(wc -c < "$work/numbers")"
head -c 1000 "$work/packed" > "$work/cut"
if "$hz" -d "$work/cut" > /dev/null 2>&1; then
    echo "not ok: damage not noticed"
    exit 1
fi
echo "ok damage is noticed"
