#!/usr/bin/env bash
# The layer study on real scans at 2 mm: the hippocampus from IXI's T1, then the tumour core of BraTS, once from T1 alone, so that no input
# channel is new, and once from T1 and T2. About 70 minutes on two cores. Running it again resumes it; STUDY_SEEDS=2 adds a seed.
#   bash scripts/real_study.sh IXI_DIR BRATS_DIR OUTPUT
# IXI_DIR has t1/SUBJECT_T1.nii.gz and dlmuse_seg/SUBJECT_T1_DLMUSE.nii.gz; BRATS_DIR has HGG/SUBJECT/SUBJECT_{t1,t2,seg}.nii.gz.
set -euo pipefail
[ $# = 3 ] || { sed -n '4,5p' "$0" >&2; exit 2; }
ixi=$(realpath "$1") brats=$(realpath "$2") output=$(realpath -m "$3")
source "$(dirname "$0")/environment.sh"
iterations=${STUDY_ITERATIONS:-250} seeds=${STUDY_SEEDS:-1} arms=${STUDY_ARMS:-scratch,0,1,2,3,random2}
two_mm=(--spacing "[2.0,2.0,2.0]" --window "[32,32,32]" --inference_window "[48,48,48]")

step() { printf '\n== %s (%d:%02d)\n' "$*" $((SECONDS / 60)) $((SECONDS % 60)); }

step "1/4 datalists; eight BraTS cases: five for training, one for validation, two for test (too few to generalise from)"
monai_tl datalist files --T1 "$ixi/t1/{subject}_T1.nii.gz" --label "$ixi/dlmuse_seg/{subject}_T1_DLMUSE.nii.gz" \
  --foreground 47,48 --split 0.65,0.12,0.23 --output "$output/ixi.json"
# with seed 1 the validation case has a tumour of medium size
monai_tl datalist brats --root "$brats" --split "${STUDY_SPLIT:-0.625,0.125,0.25}" --seed "${STUDY_SPLIT_SEED:-1}" --output "$output/brats.json"

step "2/4 source: hippocampus from T1"
monai_tl train --bundle bundles/ixi_hippocampus --datalist "$output/ixi.json" --output "$output/source" --modalities "['T1']" \
  --iterations "${STUDY_SOURCE_ITERATIONS:-700}" --validate_every $((${STUDY_SOURCE_ITERATIONS:-700} / 7)) --resume true --batch_size 3 "${two_mm[@]}"
monai_tl evaluate --run "$output/source" --split test

study() {
  monai_tl study layers --source "$output/source" --datalist "$output/brats.json" --output "$output/$1" --modalities "$2" \
    --arms "$arms" --seeds "$seeds" --parallel "${STUDY_PARALLEL:-2}" \
    --iterations "$iterations" --validate_every $((iterations / 5)) --batch_size 2 --training_dice "${two_mm[@]}"
  monai_tl report "$output/$1"
}

step "3/4 target: tumour core from T1"
study t1 "['T1']"

step "4/4 target: tumour core from T1 and T2, which is new to the source"
study t1_t2 "['T1','T2']"
