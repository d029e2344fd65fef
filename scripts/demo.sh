#!/usr/bin/env bash
# The whole chain on phantoms, ten minutes on two cores: learn the hippocampus, carry it over to the tumour core with conv_0 and
# res_1 held still, learn the same from scratch, score both on cases they never saw. A second call goes on where the first ended.
set -euo pipefail
source "$(dirname "$0")/environment.sh"
data=data/phantom
budget=(--window "[32,32,32]" --validate_every 25 --resume true)

step() { printf '\n== %s\n' "$*"; }

step "1/6 phantom heads: 24 in the layout of IXI, 24 in the layout of BraTS"
[ -d "$data" ] || monai_tl phantom --output "$data" --subjects 24 --size 64 --seed 0
monai_tl datalist ixi --root "$data/ixi" --split 0.6,0.15,0.25
monai_tl datalist brats --root "$data/brats" --split 0.4,0.2,0.4

step "2/6 source: the hippocampus"
python -W ignore -m monai.bundle run --config_file bundles/ixi_hippocampus/configs/train.yaml --bundle_root bundles/ixi_hippocampus \
  --iterations 200 "${budget[@]}"
monai_tl evaluate --run bundles/ixi_hippocampus/models --split test

step "3/6 target: the tumour core from the hippocampus weights, conv_0 and res_1 held still"
monai_tl transfer --freeze 2 --output runs/demo_transfer --iterations 100 "${budget[@]}"

step "4/6 target: the same from scratch"
monai_tl transfer --scratch --output runs/demo_scratch --iterations 100 "${budget[@]}"

step "5/6 scores on unseen cases, each on its own grid"
monai_tl evaluate --run runs/demo_scratch --split test
monai_tl evaluate --run runs/demo_transfer --split test

step "6/6 comparison"
monai_tl compare runs/demo_scratch runs/demo_transfer
printf '\nLearning curves: tensorboard --logdir runs (in .venv/bin). Next: monai_tl transfer --freeze 2\n'
