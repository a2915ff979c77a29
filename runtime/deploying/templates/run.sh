#!/bin/sh
# Installs onnxdream into .venv next to this file on the first call, then runs it with the bundle of this folder:
#   ./run.sh verify    ./run.sh dream bears.jpg --steps 200    ./run.sh doctor
set -eu

script=$0
while [ -L "$script" ]; do # readlink -f would do, but older systems lack it
    target=$(readlink "$script")
    case $target in
    /*) script=$target ;;
    *) script=$(dirname -- "$script")/$target ;;
    esac
done
here=$(CDPATH='' cd -- "$(dirname -- "$script")" && pwd -P)
venv=$here/.venv
log=$venv/pip.log
python=${PYTHON:-python3}
export PYTHONNOUSERSITE=1 # so that an onnxruntime in the user's own site-packages does not mix with the one here
export PIP_DISABLE_PIP_VERSION_CHECK=1
export PIP_USER=0         # pip's user mode, target and prefix would install outside .venv
unset PIP_TARGET PIP_PREFIX PIP_ROOT

fail() {
    echo "error: $1" >&2
    exit 1
}

require_own_folder() { # before .venv is emptied, which may be someone else's where this file was copied or moved
    { [ -f requirements.txt ] && grep -q ' run[.]sh$' SHA256SUMS; } 2>/dev/null ||
        fail "$here is not a folder that onnxdream deployed: run $(basename "$script") in that folder, or link to it"
    [ -w . ] && { [ ! -e "$venv" ] || [ -w "$venv" ]; } ||
        fail "this user cannot install into $venv: run this as the folder's owner, or copy the folder"
}

require_whole_files() { # pip answers a damaged wheel with a traceback
    ! command -v sha256sum >/dev/null || sha256sum -c SHA256SUMS >/dev/null ||
        fail "a file of $here is not as it was deployed (sha256sum -c SHA256SUMS names it): copy the folder again"
}

require_python() {
    command -v "$python" >/dev/null || fail "there is no $python that this user can run: set PYTHON to the path of one"
    "$python" -c 'import sys; sys.exit(not (@python))' ||
        fail "$python is not the Python this folder was made for (@python, @title): set PYTHON to one that is"
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python cannot make virtual environments: sudo apt-get install python3-venv"
}

wait_for_others() { # until no other call installs here; the lock ends with this process, or is none on some systems
    exec 9<run.sh
    "$python" - <<'END'
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
try:
    import fcntl
    try:
        fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("another call of run.sh is installing here: waiting for it", file=sys.stderr, flush=True)
        fcntl.flock(9, fcntl.LOCK_EX)
except (ImportError, OSError):
    pass
END
}

pip_install() { # what pip says of its progress is shown, what it complains of is kept
    "$venv/bin/python" -m pip install "$@" 2>>"$log" ||
        fail "pip cannot install into $venv ($(sed -n 's/^ERROR: //p' "$log" | tail -n 1)): check the network; all that \
pip complains of is in $log"
}

install() {
    cd "$here"
    require_own_folder
    require_python
    wait_for_others
    ! is_installed || return 0
    require_whole_files
    site=
    [ ! -e requirements-jetson.txt ] || site=--system-site-packages # for JetPack's OpenCV
    "$python" -m venv --clear $site "$venv" || fail "$python cannot make a virtual environment in $venv (see above)"
    pip_install --requirement requirements.txt
    if [ -e requirements-jetson.txt ]; then
        pip_install --no-deps --requirement requirements-jetson.txt
        "$venv/bin/python" -c 'import cv2, sys; sys.exit(tuple(map(int, cv2.__version__.split(".")[:2])) < (4, 8))' 2>/dev/null ||
            pip_install --requirement requirements-opencv.txt
    fi
    cp SHA256SUMS "$venv/installed"
    binary_interface >>"$venv/installed"
}

binary_interface() { # of .venv's Python and this machine, as cpython-311-x86_64-linux-gnu
    "$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_config_var("SOABI"))'
}

is_installed() { # another Python, as after an upgrade, and another machine cannot use what is in .venv
    { cat "$here/SHA256SUMS" && binary_interface; } 2>/dev/null | cmp -s - "$venv/installed"
}

is_installed || (install) >&2

onnxdream() { # its script through python, since it names the path of .venv, which changes when the folder is moved
    exec "$venv/bin/python" "$venv/bin/onnxdream" "$@" # -m would import from the current folder
}

command=${1:-verify}
[ $# -eq 0 ] || shift
case $command in
verify) onnxdream verify "$here" "$@" ;;
dream | bench | doctor | features | film | zoom | travel)
    case " $* " in
    *" --model"* | *" --repeat"* | *" --resume"*) onnxdream "$command" "$@" ;;
    *) onnxdream "$command" --model "$here/@bundle" "$@" ;;
    esac
    ;;
*) onnxdream "$command" "$@" ;;
esac
