#!/usr/bin/env bash
# A small experiment on real scans, 45 minutes on two cores: the hippocampus on IXI T1 at 2 mm, then the tumour core on BraTS T1 and T2
# at 2 mm, from those weights with conv_0 and res_1 held still against from scratch, same budget. A second call goes on where the first ended.
#   bash scripts/real_experiment.sh IXI_DIR BRATS_DIR OUTPUT
# IXI_DIR holds t1/SUBJECT_T1.nii.gz and dlmuse_seg/SUBJECT_T1_DLMUSE.nii.gz; BRATS_DIR holds HGG/SUBJECT/SUBJECT_{t1,t2,seg}.nii.gz.
set -euo pipefail
[ $# = 3 ] || { sed -n '4,5p' "$0" >&2; exit 2; }
ixi=$(realpath "$1") brats=$(realpath "$2") output=$(realpath -m "$3")
source "$(dirname "$0")/environment.sh"
mkdir -p "$output"
two_mm=(--spacing "[2.0,2.0,2.0]" --window "[32,32,32]" --inference_window "[48,48,48]" --resume true)

step() { printf '\n== %s\n' "$*"; }

step "1/5 datalists: 20 IXI subjects to learn from (3 of them choose the checkpoint), the rest to test; BraTS as the study divides it"
monai_tl datalist files --T1 "$ixi/t1/{subject}_T1.nii.gz" --label "$ixi/dlmuse_seg/{subject}_T1_DLMUSE.nii.gz" \
  --foreground 47,48 --split 0.65,0.12,0.23 --output "$output/ixi.json"
python scripts/present_subjects.py bundles/brats_tumour_core/splits/study.json S4 "$brats" "$output/brats_splits.json"
monai_tl datalist brats --root "$brats" --split "$output/brats_splits.json" --output "$output/brats.json"

step "2/5 source: the hippocampus from T1"
monai_tl train --bundle bundles/ixi_hippocampus \
  --datalist "$output/ixi.json" --output "$output/source" --modalities "['T1']" --iterations 700 --validate_every 100 \
  --batch_size 3 "${two_mm[@]}"
monai_tl evaluate --run "$output/source" --split test

target=(--datalist "$output/brats.json" --iterations 200 --validate_every 100 --batch_size 3 "${two_mm[@]}")
step "3/5 target: the tumour core from T1 and T2, conv_0 and res_1 held still (T2's new kernels are trained)"
monai_tl transfer --source "$output/source" --freeze 2 --output "$output/freeze_2" "${target[@]}"
monai_tl evaluate --run "$output/freeze_2" --split validation

step "4/5 target: the same from scratch"
monai_tl transfer --scratch --output "$output/scratch" "${target[@]}"
monai_tl evaluate --run "$output/scratch" --split validation

step "5/5 comparison; the same two cases chose the checkpoints, so both figures flatter"
monai_tl compare "$output/scratch" "$output/freeze_2" --split validation
