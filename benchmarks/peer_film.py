"""Dreams frames one by one, as a plain script in PyTorch does: `python peer_film.py FOLDER`, in its environment.

FOLDER has the network (forward.json, forward.npz), the frames (frames.npy) and the loop (loop.json) of films.py. The
loop is that of Google's notebook: octaves, jitter and normalised steps, on images in channels-last layout. It reads the
numbers of frames from stdin, and prints a line after each frame, and one when it is ready.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from peer_pytorch import Network
from rows import Case
from torch.nn import functional

Shape = tuple[int, int]


class FrameDream:
    """The loop of one look."""

    def __init__(self, folder: Path) -> None:
        loop = json.loads((folder / "loop.json").read_text())
        torch.set_num_threads(loop["threads"])
        self._octaves: list[Shape] = [(height, width) for height, width in loop["octaves"]]
        self._steps, self._step_size, self._jitter = loop["steps"], loop["step_size"], loop["jitter"]
        self._network = Network(Case(folder, (0, 0))).to(memory_format=torch.channels_last)
        self._rng = np.random.default_rng(0)
        self._frames = np.load(folder / "frames.npy", mmap_mode="r")

    def dream(self, number: int) -> torch.Tensor:
        """Dreams a frame, and returns it as an image [1, 3, height, width]."""
        pixels = torch.from_numpy(self._frames[number].astype(np.float32)).permute(2, 0, 1)[None]
        picture = (pixels / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        change = torch.zeros_like(picture)
        for octave in self._octaves:
            base = functional.interpolate(picture, octave, mode="area")
            image = base + functional.interpolate(change, octave, mode="bilinear")
            for _ in range(self._steps):
                image = self._step(image)
            change = image - base
        return image

    def _step(self, image: torch.Tensor) -> torch.Tensor:
        down, right = (int(shift) for shift in self._rng.integers(-self._jitter, self._jitter + 1, 2))
        rolled = torch.roll(image, (down, right), (2, 3)).contiguous(memory_format=torch.channels_last).requires_grad_()
        (gradient,) = torch.autograd.grad(self._network(rolled), rolled)
        gradient = torch.roll(gradient, (-down, -right), (2, 3))
        return (image + self._step_size * gradient / (gradient.std() + 1e-8)).clamp_(-1, 1)


def main(folder: str) -> None:
    """Dreams the frames that are asked for."""
    dream = FrameDream(Path(folder))
    print("ready", flush=True)
    for line in sys.stdin:
        dream.dream(int(line))
        print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
