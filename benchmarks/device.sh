#!/usr/bin/env bash
# NOT YET RUN on a machine with a GPU.
#
# Checks and measures onnxdream on a machine with an NVIDIA GPU, which needs no network: `benchmarks/device.sh PART
# WHEELS [RESULTS]`. Part 1 checks (doctor, verify, tests/gpu, a look, a paper dream), part 2 measures (steps against
# PyTorch, tuned ones, the GPU's load and memory, other options, a CUDA graph). Each part takes less than six minutes.
#
# WHEELS is a folder of wheels, which are installed without their dependencies: onnxruntime-gpu, and what else the
# Python of $PYTHON (python3) lacks of numpy, OpenCV, protobuf, platformdirs, typer, rich and pytest. PyTorch must be in
# that Python. Bundles (*.onnx) in WHEELS are tested, too. onnxdream itself is this checkout.
#
# RESULTS (benchmarks/device) gets a text for each section, JSON lines for those that measure, the pictures, and
# sections.txt. `python benchmarks/device_report.py RESULTS` then fills in the documentation. A section that fails, or
# takes longer than its seconds, does not stop the next. The exit code is 1 if any failed.
set -uo pipefail
[[ $# -ge 2 && $1 =~ ^[12]$ && -d $2 ]] || { sed -n '3,15s/^# \{0,1\}//p' "$0"; exit 2; }
part=$1
root=$(cd "$(dirname "$0")/.." && pwd)
wheels=$(cd "$2" && pwd)
out=${3:-$root/benchmarks/device}
mkdir -p "$out" || exit 2
out=$(cd "$out" && pwd)
python=${PYTHON:-python3}
site=$(mktemp -d) || exit 2
trap 'rm -rf "$site"' EXIT
broken=
failed=0
export root wheels out python site

section() { # name, seconds: runs the function of that name, and states how it ended
  local name=$1 seconds=$2 verdict
  local text=$out/$name.txt
  rm -f "$out/$name.jsonl"
  if [ -n "$broken" ]; then
    verdict="skipped ($broken)"
  else
    timeout -k 5 "$seconds" bash -c "cd '$root' && $name" >"$text" 2>&1 </dev/null
    case $? in
      0) verdict=ok ;;
      77) verdict="skipped ($(last_line "$text"))" ;;
      124 | 137) verdict="failed (stopped after $seconds s)" ;;
      *) verdict="failed ($(last_line "$text"))" ;;
    esac
  fi
  [[ $verdict == ok || ($verdict == skipped* && -z $broken) ]] || failed=1
  echo "SECTION $name: $verdict" | tee -a "$out/sections.$part"
}

last_line() { grep -v '^ *$' "$1" | tail -n 1 | cut -c 1-200; }

measure() { "$python" benchmarks/device_steps.py "$1" "$out/$1.jsonl"; }
onnxdream() { "$python" -m onnxdream "$@"; }
peers() { "$python" benchmarks/device_peers.py "$@"; }

install() {
  ln -s "$root" "$site/onnxdream" || return
  "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$site/packages" "$wheels"/*.whl
}
machine() { measure machine; }

doctor() { onnxdream doctor && measure machine; }
verify() {
  onnxdream deploy v3-low --target workstation --output "$site/folder" &&
    onnxdream verify "$site/folder" --provider cuda
}
tests() { # pytest's exit code is 0, too, if all tests are skipped
  ONNXDREAM_TEST_BUNDLES=$wheels "$python" -m pytest tests/gpu -p no:cacheprovider --tb=short -rA &&
    tail -n 1 "$out/tests.txt" | grep ' passed'
}
look() { dream look cat --preset creatures; }
paper() { dream paper bears --preset paper --steps 300; }
dream() { # name of the result, name of the picture, options; the CPU must find the same losses before the first step
  onnxdream dream "examples/$2.jpg" "${@:3}" --provider cuda --output "$out/$1.png" --overwrite &&
    onnxdream dream "examples/$2.jpg" "${@:3}" --provider cpu --steps 1 --output "$site/$1.png" &&
    "$python" -c 'import csv, json, sys
rows = [next(csv.DictReader(open(path + "-losses.csv"))) for path in sys.argv[1:]]
pairs = [(float(rows[0][name]), float(rows[1][name])) for name in rows[0]]
if not all(abs(one - other) <= 1e-4 * abs(other) for one, other in pairs):
    sys.exit("the losses before the first step differ from those of the CPU")
record = json.load(open(sys.argv[1] + ".json"))
if not record["last_loss"] > record["first_loss"]:
    sys.exit("the loss did not rise")' "$out/$1" "$site/$1"
}

steps() { measure steps; }
tuned() { measure tuned; }
pytorch_v3() { peers "$out/pytorch_v3.jsonl" v3-low eager-fp32 eager-tf32 eager-fp16 graph-fp32 graph-fp16; }
pytorch_lite0() { peers "$out/pytorch_lite0.jsonl" lite0 eager-fp32 eager-tf32 eager-fp16 graph-fp32 graph-fp16; }
busy() { measure busy; }
memory() { measure memory; }
options() { measure options; }
graph() { measure graph; }
compile() { peers "$out/compile.jsonl" v3-low compile-fp32; }

export -f last_line measure onnxdream peers install machine doctor verify tests dream look paper \
  steps tuned pytorch_v3 pytorch_lite0 busy memory options graph compile

: >"$out/sections.$part"
export PYTHONPATH=$site:$site/packages${PYTHONPATH:+:$PYTHONPATH} ONNXDREAM_HOME=$site/home PYTHONDONTWRITEBYTECODE=1
# onnxruntime finds CUDA's libraries of pip only beside itself, and PyTorch's are elsewhere.
folders=$("$python" -c "import nvidia, pathlib; print(':'.join(sorted(
  {str(f.parent) for r in nvidia.__path__ for f in pathlib.Path(r).rglob('lib*.so*')})))" 2>/dev/null)
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folders

section install 40
section machine 30
if [ "$(tail -n 1 "$out/sections.$part")" != "SECTION machine: ok" ]; then
  failed=1
  [ "$part" = 2 ] || section doctor 30
  broken="CUDA does not work here, see machine.txt"
fi
if [ "$part" = 1 ]; then
  [ -n "$broken" ] || section doctor 30
  section verify 40
  section tests 150
  section look 30
  section paper 30
else
  section steps 45
  section tuned 50
  section pytorch_v3 40
  section pytorch_lite0 40
  section busy 30
  section memory 45
  section options 30
  section graph 20
  section compile $((350 - SECONDS)) # the rest of the time, since PyTorch may compile for minutes
fi
exit $failed
