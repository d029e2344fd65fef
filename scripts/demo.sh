#!/usr/bin/env bash
# The whole pipeline on phantoms, about ten minutes on two cores: train on the hippocampus, transfer to the tumour core with conv_0 and
# res_1 frozen, train on the tumour core from scratch, score both on unseen cases, and report all runs in one page. Running it again
# resumes an interrupted demo.
set -euo pipefail
source "$(dirname "$0")/environment.sh"
data=data/phantom
subjects=${DEMO_SUBJECTS:-20} size=${DEMO_SIZE:-64} window=${DEMO_WINDOW:-16}
source_iterations=${DEMO_SOURCE_ITERATIONS:-640} target_iterations=${DEMO_TARGET_ITERATIONS:-160}
edge=$((2 * window)) # of the sliding window
# chosen on validation cases: with small batches, and without rotation and scaling, the least computation reaches this Dice
shared=(--window "[$window,$window,$window]" --inference_window "[$edge,$edge,$edge]" --inference_overlap 0.0 --batch_size 2
  --rotation 0 --scaling 0 --patience 0 --resume true)

sizes=(--subjects "$subjects" --size "$size" --window "$window")
parts=($(python scripts/demo_time.py "${sizes[@]}" --source_iterations "$source_iterations" --target_iterations "$target_iterations"))

step() { # "2/7 …": prints the time so far and, from the speed of a few training steps, the time left
  local part left=0
  for part in "${parts[@]:${1%%/*}-1}"; do left=$((left + part)); done
  printf '\n== %s (%d:%02d so far, about %d min left)\n' "$*" $((SECONDS / 60)) $((SECONDS % 60)) $(((left + 59) / 60))
}

step "1/7 phantom heads: $subjects in the layout of IXI, $subjects in the layout of BraTS"
[ -d "$data" ] || monai_tl phantom --output "$data" --subjects "$subjects" --size "$size" --seed 0
monai_tl datalist ixi --root "$data/ixi" --split 0.65,0.1,0.25
monai_tl datalist brats --root "$data/brats" --split 0.5,0.1,0.4

step "2/7 source: hippocampus"
monai_tl train --bundle bundles/ixi_hippocampus --learning_rate 5e-3 \
  --iterations "$source_iterations" --validate_every $((source_iterations / 2)) "${shared[@]}"
monai_tl evaluate --run bundles/ixi_hippocampus/models --split test

step "3/7 target: tumour core from the hippocampus weights, with conv_0 and res_1 frozen"
budget=(--iterations "$target_iterations" --validate_every $((target_iterations / 2)) "${shared[@]}")
monai_tl transfer --freeze 2 --output runs/demo_transfer "${budget[@]}"

step "4/7 target: tumour core from scratch"
monai_tl transfer --scratch --output runs/demo_scratch "${budget[@]}"

step "5/7 scores on unseen cases, each on its own grid"
monai_tl evaluate --run runs/demo_scratch --split test
monai_tl evaluate --run runs/demo_transfer --split test

step "6/7 comparison"
monai_tl compare runs/demo_scratch runs/demo_transfer

step "7/7 report of all runs in one page"
monai_tl report --runs runs
printf 'Open it in a browser: %s\n' "$PWD/runs/report.html"
printf '\nLearning curves: .venv/bin/tensorboard --logdir runs. Next: source .venv/bin/activate; monai_tl transfer --freeze 2\n'
