#!/usr/bin/env bash
# Makes the pictures of the guide again, each with the command that stands under it.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --release -p chord-lab
lab="${CARGO_TARGET_DIR:-target}/release/chord-lab"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

"$lab" balance --out "$work"
"$lab" draw 16 --fingers node_3 --route data_7 --bits 8 --hash md5 --out "$work"
"$lab" failure --out "$work"
"$lab" load 10000 --out "$work"
"$lab" hash compare --untimed --out "$work"
for structure in b-tree can kademlia; do
    "$lab" beside "$structure" --out "$work"
done
"$lab" churn --out "$work"

mkdir -p docs/guide/figures
cp "$work"/{balance,failure,load,hash-quality,hash-attack,beside-b-tree,beside-can,beside-kademlia,churn-one-hop}.svg docs/guide/figures/
cp "$work/ring.svg" docs/guide/figures/route.svg
