#!/usr/bin/env bash
# A small experiment on real scans, 45 minutes on two cores: the hippocampus on IXI T1 at 2 mm, then the tumour core on BraTS T1 and T2
# at 2 mm, from those weights with conv_0 and res_1 held still against from scratch, same budget.
#   bash scripts/real_experiment.sh IXI_DIR BRATS_DIR OUTPUT
# IXI_DIR holds t1/SUBJECT_T1… and dlmuse_seg/SUBJECT_T1_DLMUSE.nii.gz; BRATS_DIR holds HGG/SUBJECT/SUBJECT_{t1,t2,seg}.nii.gz.
set -euo pipefail
[ $# = 3 ] || { sed -n '2,5p' "$0" >&2; exit 2; }
ixi=$(realpath "$1") brats=$(realpath "$2") output=$(realpath -m "$3")
source "$(dirname "$0")/environment.sh"
mkdir -p "$output"
