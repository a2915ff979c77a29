"""What to do about a picture file that is not read, or whose colours are lost: the ends of messages, and commands."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

from .formats.container import Container, ContainerError, DamagedContainerError, UndecodableError, profile_colours
from .formats.kinds import READ_KINDS, recognise

# What a picture that came from standard input is called; to ImageMagick and FFmpeg it is -.
STANDARD_INPUT = Path("stdin")


def explain(path: Path, data: bytes, error: ContainerError) -> str:
    """The end of a message: why the file's bytes are not read, and what to do about it."""
    kind = recognise(data)
    if not data:
        return "is empty; copy it again from its source"
    if kind is None:
        return "is not a picture; give a JPEG, PNG, WebP, TIFF or BMP file"
    if kind == "web page":
        return "is a web page, not a picture; download the picture itself"
    if kind == "video":
        return f"is a video; dream it with onnxdream film, or take a frame of it: {_frame_command(path)}"
    if kind == "camera raw":
        return f"{kind} is not read; export a JPEG from the camera app, or: {conversion(path)}"
    if kind not in READ_KINDS:
        return f"{kind} is not read; convert it: {conversion(path)}"
    if isinstance(error, UndecodableError):
        return f"{error}; copy it again from its source, or convert it: {conversion(path)}"
    if isinstance(error, DamagedContainerError):
        return f"{error}; copy it again from its source, or save what is left: {conversion(path)}"
    return f"{error}; convert it: {conversion(path, '-depth 16')}"


def conversion(path: Path, options: str = "") -> str:
    """The command with which ImageMagick converts a file into a PNG in the current folder, quoted for a shell.

    Version 7 is called magick, version 6 convert; Windows has another program of that name.
    """
    programs = ("magick",) if sys.platform == "win32" else ("magick", "convert")
    installed = next((program for program in programs if shutil.which(program)), None)
    command = f"{installed or programs[-1]} {_conversion_arguments(path, options)}"
    return command if installed else f"{command} (install ImageMagick first)"


def _frame_command(path: Path) -> str:
    """The command with which FFmpeg saves the first frame of a video as a PNG in the current folder."""
    command = f"ffmpeg -i {_conversion_arguments(path, '-frames:v 1')}"
    return command if shutil.which("ffmpeg") else f"{command} (install FFmpeg first)"


def _conversion_arguments(path: Path, options: str) -> str:
    read = "-" if path == STANDARD_INPUT else shlex.quote(str(path))
    words = (read, options, shlex.quote(f"{path.stem}-converted.png"))
    return " ".join(filter(None, words))


def colour_warnings(path: Path, container: Container) -> list[str]:
    """A line if the picture's colours are lost or misread, with the remedy."""
    if container.icc is None:
        if container.colours is None:
            return []
        line = f"its colours are {container.colours} without a profile, and are read as sRGB"
        remedy = f"-profile {_profile('AdobeRGB1998')} -profile {_profile('sRGB')}"
        if container.colours != "Adobe RGB":
            return [f"{line}; if they look wrong, export it as sRGB"]
        return [f"{line}, which makes them paler; convert it first: {conversion(path, remedy)}"]
    colours = profile_colours(container.icc)
    if colours == "RGB":
        return []
    line = f"its {colours} colour profile does not fit an RGB picture and is dropped"
    remedy = f"-profile {_profile('sRGB')}"
    return [
        f"{line}; for its true colours, convert it first: {conversion(path, remedy)}" if colours == "CMYK" else line
    ]


def _profile(name: str) -> str:
    """The path of a colour profile, as Debian's package colord-data has it, or where there is none its file name."""
    path = Path(f"/usr/share/color/icc/colord/{name}.icc")
    return str(path) if path.is_file() else path.name
