#!/usr/bin/env bash
# A whole study on phantom heads, within an hour on two cores: does a transfer from the hippocampus improve the tumour core, with how
# many frozen stages, and with how many training heads? 4 arms × 2 sizes × 3 seeds and 16 test heads (with 8, Wilcoxon's p could not
# become significant after correction for 8 comparisons), then a report. Running it again resumes an interrupted study.
set -euo pipefail
source "$(dirname "$0")/environment.sh"
data=data/phantom_study study=${STUDY_OUTPUT:-studies/phantom}
subjects=${STUDY_SUBJECTS:-28} size=${STUDY_SIZE:-64} window=${STUDY_WINDOW:-24}
source_iterations=${STUDY_SOURCE_ITERATIONS:-360} target_iterations=${STUDY_TARGET_ITERATIONS:-120}
source=$study/source
shared=(--window "[$window,$window,$window]")

step() { printf '\n== %s (%d:%02d)\n' "$*" $((SECONDS / 60)) $((SECONDS % 60)); }

step "1/4 phantom heads: $subjects in the layout of IXI, $subjects in the layout of BraTS"
[ -d "$data" ] || monai_tl phantom --output "$data" --subjects "$subjects" --size "$size" --seed 0
monai_tl datalist ixi --root "$data/ixi" --split 0.65,0.1,0.25 --output "$study/ixi.json"
monai_tl datalist brats --root "$data/brats" --split 0.36,0.07,0.57 --output "$study/brats.json"

step "2/4 source: hippocampus"
monai_tl train --bundle bundles/ixi_hippocampus --datalist "$study/ixi.json" --output "$source" \
  --iterations "$source_iterations" --validate_every $((source_iterations / 2)) --patience 0 --resume true "${shared[@]}"

step "3/4 target: tumour core, 4 arms × 2 sizes × 3 seeds"
monai_tl study size --source "$source" --datalist "$study/brats.json" --output "$study/study" \
  --arms scratch,0,2,random2 --sizes 0.5,1.0 --seeds "${STUDY_SEEDS:-3}" --parallel "${STUDY_PARALLEL:-2}" \
  --iterations "$target_iterations" --validate_every $((target_iterations / 6)) --patience $((target_iterations / 2)) "${shared[@]}"

step "4/4 report"
monai_tl report "$study/study"
printf 'Open it in a browser: %s\n' "$PWD/$study/study/report.html"
