#!/usr/bin/env bash
# Smoke test in a temporary folder, one or two minutes on a CPU: phantoms, datalists, a source of four iterations, a transfer of
# five, predictions. Prints the step that failed and exits with code 1.
#   bash docker/smoke.sh [COMMAND …]         COMMAND runs monai_tl, e.g. python -m monai_tl
#   docker run --rm --gpus all --entrypoint bash monai_tl docker/smoke.sh
set -euo pipefail
cd "$(dirname "$0")/.."
monai_tl=("${@:-monai_tl}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
phantoms=$work/data/phantom
tiny=(--window "[16,16,16]" --batch_size 1 --patience 0)

step() {
  local name=$1
  shift
  echo "smoke: $name"
  "$@" >"$work/log" 2>&1 || { tail -n 30 "$work/log" >&2; echo "smoke test FAILED: $name: $*" >&2; exit 1; }
}

# Without this check, a container with a GPU that PyTorch cannot use would pass on the CPU.
gpu_is_used() {
  ! nvidia-smi --list-gpus || python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'
}

step "help" "${monai_tl[@]}" --help
step "PyTorch uses the GPU, if the driver shows one" gpu_is_used
step "phantoms" "${monai_tl[@]}" phantom --output "$phantoms" --subjects 6 --size 32 --seed 0
for side in ixi brats; do
  step "datalist $side" "${monai_tl[@]}" datalist "$side" --root "$phantoms/$side" --split 0.5,0.17,0.33
done
step "source, four iterations" python -m monai.bundle run --config_file bundles/ixi_hippocampus/configs/train.yaml \
  --bundle_root bundles/ixi_hippocampus --dataset_dir "$phantoms/ixi" --run_dir "$work/runs/source" \
  --iterations 4 --validate_every 4 "${tiny[@]}"
step "transfer, five iterations" "${monai_tl[@]}" transfer --freeze 2 --source "$work/runs/source" --dataset_dir "$phantoms/brats" \
  --output "$work/runs/freeze_2" --iterations 5 --validate_every 5 "${tiny[@]}"
step "transfer report" test -s "$work/runs/freeze_2/transfer_report.json"
step "predict" "${monai_tl[@]}" predict --bundle "$work/runs/freeze_2" --input "$phantoms/brats/datalist.json" --output "$work/predictions"
step "prediction files" test -n "$(find "$work/predictions" -name '*.nii.gz')"
echo "smoke test passed"
