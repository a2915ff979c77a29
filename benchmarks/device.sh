#!/usr/bin/env bash
# NOT YET RUN: no machine with an NVIDIA GPU was available when this was written.
#
# Measures onnxdream on a machine with an NVIDIA GPU: `benchmarks/device.sh [FOLDER]`. It creates the environments, runs
# the command `doctor`, the tests of providers and the benchmark against PyTorch on the GPU, and measures how busy the
# GPU is. The results are written to FOLDER (default: benchmarks/device).
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-benchmarks/device}
venvs=$PWD/.venv-device
mkdir -p "$out" "$venvs"

environment() { # name, packages...
  local python=$venvs/$1/bin/python
  [ -x "$python" ] || python3 -m venv "$venvs/$1"
  "$python" -m pip install -q "${@:2}"
}

echo "== environments"
nvidia-smi | tee "$out/nvidia-smi.txt"
environment cuda -e '.[gpu,test]'
environment tensorflow -e '.[export,cpu]'
environment pytorch torch numpy
printf '%s = "%s"\n' cuda "$venvs/cuda/bin/python" tensorflow "$venvs/tensorflow/bin/python" \
  pytorch-cuda "$venvs/pytorch/bin/python" >"$out/environments.toml"

echo "== the command doctor, and the tests that need a GPU"
"$venvs/cuda/bin/python" cli.py doctor | tee "$out/doctor.txt"
"$venvs/cuda/bin/python" -m pytest tests/gpu | tee "$out/tests.txt"

echo "== speed and GPU utilisation"
"$venvs/cuda/bin/python" cli.py bench --size 512x384 --size 1024x768 | tee "$out/bench.txt"
"$venvs/cuda/bin/python" benchmarks/gpu_utilisation.py models/builtin/v3-low.json 512x384 | tee "$out/gpu-utilisation.txt"
"$venvs/tensorflow/bin/python" benchmarks/run.py --environments "$out/environments.toml" --json "$out/results.json" \
  --systems cuda,torch-cuda-eager,torch-cuda-compile,torch-cuda-fp16 --parts steps,start,job | tee "$out/table.md"
