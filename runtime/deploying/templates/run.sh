#!/bin/sh
# Installs onnxdream into .venv next to this file on the first call, then runs it with the bundle of this folder:
#   ./run.sh verify    ./run.sh dream bears.jpg --steps 200    ./run.sh doctor
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
venv=$here/.venv
python=${PYTHON:-python3}
export PYTHONNOUSERSITE=1 # so that an onnxruntime in the user's own site-packages does not mix with the one here

fail() {
    echo "error: $1" >&2
    exit 1
}

install() {
    cd "$here"
    "$python" -c 'import sys; sys.exit(not (@python))' ||
        fail "$python is not the Python this folder was made for (@python): set PYTHON to one that is"
    site=
    [ ! -e requirements-jetson.txt ] || site=--system-site-packages # for JetPack's OpenCV
    "$python" -m venv --clear $site "$venv" ||
        fail "a virtual environment cannot be made: sudo apt-get install python3-venv"
    "$venv/bin/python" -m pip install --requirement requirements.txt
    if [ -e requirements-jetson.txt ]; then
        "$venv/bin/python" -m pip install --no-deps --requirement requirements-jetson.txt
        "$venv/bin/python" -c 'import cv2, sys; sys.exit(tuple(map(int, cv2.__version__.split(".")[:2])) < (4, 8))' 2>/dev/null ||
            "$venv/bin/python" -m pip install --requirement requirements-opencv.txt
    fi
    cp SHA256SUMS "$venv/installed"
}

if ! cmp -s "$here/SHA256SUMS" "$venv/installed" || ! [ -x "$venv/bin/python" ]; then
    (install) >&2
fi

onnxdream() { # through python, since .venv/bin/onnxdream stops working when the folder is moved
    exec "$venv/bin/python" -m onnxdream.cli "$@"
}

command=${1:-verify}
[ $# -eq 0 ] || shift
case $command in
verify) onnxdream verify "$here" "$@" ;;
dream | bench)
    case " $* " in
    *" --model"* | *" --repeat"* | *" --resume"*) onnxdream "$command" "$@" ;;
    *) onnxdream "$command" --model "$here/@bundle" "$@" ;;
    esac
    ;;
*) onnxdream "$command" "$@" ;;
esac
