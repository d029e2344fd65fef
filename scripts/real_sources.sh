#!/usr/bin/env bash
# Sources and networks of others on real scans: the published weights of HighRes3DNet (NiftyNet) for the hippocampus, on IXI's T1 at 2 mm and
# on the Decathlon's at 1 mm; then SegResNet and DynUNet, trained on one half of the Decathlon's cases for one region, transferred to the other
# half for two. About 90 minutes on two cores. Running it again resumes it.
#   bash scripts/real_sources.sh WEIGHTS IXI_DIR TASK04_DIR OUTPUT
# WEIGHTS is highres3dnet_li_parameters-7d297872.pth of fepegar/highresnet-models; IXI_DIR has t1/SUBJECT_T1.nii.gz and
# dlmuse_seg/SUBJECT_T1_DLMUSE.nii.gz; TASK04_DIR is Task04_Hippocampus of the Medical Segmentation Decathlon.
set -euo pipefail
[ $# = 4 ] || { sed -n '5,7p' "$0" >&2; exit 2; }
weights=$(realpath "$1") ixi=$(realpath "$2") task04=$(realpath "$3") output=$(realpath -m "$4")
source "$(dirname "$0")/environment.sh"
iterations=${STUDY_ITERATIONS:-150} seeds=${STUDY_SEEDS:-2} arms=${STUDY_ARMS:-scratch,0,2}
budget=(--iterations "$iterations" --validate_every $((iterations / 3)) --seeds "$seeds" --arms "$arms")

step() { printf '\n== %s (%d:%02d)\n' "$*" $((SECONDS / 60)) $((SECONDS % 60)); }

new_bundle() { # NAME DATALIST OPTION…
  [ -d "$output/$1" ] || monai_tl bundle new "$output/$1" --datalist "$2" "${@:3}"
}

study() { # BUNDLE SOURCE OPTION…
  monai_tl study layers --target "$output/$1" --source "$2" --output "$output/study_$1" "${budget[@]}" "${@:3}"
  monai_tl report "$output/study_$1"
}

step "1/4 datalists"
monai_tl datalist files --T1 "$ixi/t1/{subject}_T1.nii.gz" --label "$ixi/dlmuse_seg/{subject}_T1_DLMUSE.nii.gz" \
  --regions hippocampus=47,48 --split 0.5,0.12,0.38 --output "$output/ixi.json"
task04_list() { # OUTPUT REGIONS SPLIT
  monai_tl datalist decathlon --root "$task04" --modalities T1=MRI --regions "$2" --split "$3" --output "$output/$1.json"
}
task04_list task04 anterior=1,posterior=2 0.3,0.1,0.6
python - "$task04" "$output" <<'PYTHON'
import json
import sys
from pathlib import Path

subjects = sorted(path.name.removesuffix(".nii.gz") for path in Path(sys.argv[1], "imagesTr").glob("[!.]*.nii.gz"))
for half, training in ((0, 45), (1, 20)):  # many cases for the source, few for the target
    cases = subjects[half::2]
    lists = {"train": cases[:training], "validation": cases[training : training + 10], "test": cases[training + 10 :]}
    Path(sys.argv[2], f"half_{half}.json").write_text(json.dumps(lists))
PYTHON
task04_list source anterior=1 "$output/half_0.json"
task04_list target anterior=1,posterior=2 "$output/half_1.json"

step "2/4 HighRes3DNet of NiftyNet: hippocampus on IXI at 2 mm, from weights trained at 1 mm"
own=(--network like_source --batch_size 4)
new_bundle ixi "$output/ixi.json" --source "$weights" "${own[@]}" --spacing "[2.0,2.0,2.0]" --window "[32,32,32]" --inference_window "[48,48,48]"
study ixi "$weights" --accept_differences true

step "3/4 HighRes3DNet of NiftyNet: anterior and posterior hippocampus at 1 mm"
new_bundle task04 "$output/task04.json" --source "$weights" "${own[@]}" --window "[32,40,32]" --inference_window "[40,56,48]"
study task04 "$weights" --accept_differences true

step "4/4 SegResNet and DynUNet: anterior hippocampus on one half, then both regions on the other"
for network in SegResNet DynUNet; do
  settings=$([ "$network" = SegResNet ] && echo init_filters=16 || echo "filters=[16,32,64,128]")
  chosen=(--network "$network" --set "$settings" --batch_size 4 --window "[32,40,32]" --inference_window "[40,56,48]")
  new_bundle "source_$network" "$output/source.json" "${chosen[@]}"
  monai_tl train --bundle "$output/source_$network" --output "$output/run_$network" --iterations $((2 * iterations)) \
    --validate_every "$iterations" --resume true
  monai_tl evaluate --run "$output/run_$network" --split test
  new_bundle "target_$network" "$output/target.json" --source "$output/run_$network" "${chosen[@]}"
  study "target_$network" "$output/run_$network"
done
