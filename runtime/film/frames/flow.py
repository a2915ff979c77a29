"""Optical flow between two frames: how the picture moves, where that can be trusted, and warping along it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Floats, Image, Pixels, Size
from ...image.resizing import rounded, shrink
from ...video.encoder import in_eight_bits

# Longer side in pixels at which the flow is computed: motion is smooth, and a flow of larger frames takes longer than
# a gradient.
_FLOW_SIZE = 512
# Sundaram, Brox, Keutzer 2010, "Dense point trajectories by GPU-accelerated large displacement optical flow", eq. 5:
# forward and backward flow disagree where the square of their sum exceeds this share of their squares, plus this.
_DISAGREEMENT_SHARE, _DISAGREEMENT = 0.01, 0.5
# Where the flows disagree, levels of lightness beyond which a warped frame does not show what the frame shows.
_OTHER_CONTENT = 30
# Trust where the flows disagree and the frames do not.
_HALF_TRUST = 0.5
_TRUST_BLUR = 1.0
# Contrast that one frame may have in relation to another and still show the same.
_MAX_GAIN = 4.0
_SMALL_GAIN, _SMALL_SHIFT = 0.05, 4.0


class FlowMethod(Protocol):
    """Computes a dense flow."""

    def __call__(self, frame: NDArray[np.uint8], other: NDArray[np.uint8]) -> Floats:
        """Returns where each pixel of a frame is in another: float32 [height, width, 2], x and y in pixels, relative.

        Both frames are grey, uint8 [height, width].
        """


class DisFlow:
    """Dense inverse search (Kroeger et al. 2016, "Fast Optical Flow using Dense Inverse Search"), by OpenCV."""

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def __call__(self, frame: NDArray[np.uint8], other: NDArray[np.uint8]) -> Floats:
        if min(frame.shape) < 16:  # fewer pixels than one of its patches and its pyramid need
            return np.zeros((*frame.shape, 2), np.float32)
        return np.asarray(self._dis.calc(frame, other, None), np.float32)


@dataclass(frozen=True)
class Motion:
    """How the picture has moved from an earlier frame to this one.

    `backward` says where each pixel of this frame was: float32 [height, width, 2], x and y in pixels of the flow's
    size, relative. `trust` is float32 [height, width], from 0, where the frames do not show the same, to 1.
    """

    backward: Floats = field(repr=False)
    trust: Floats = field(repr=False)

    @property
    def trusted_share(self) -> float:
        """The mean of `trust`: 1 where all of the frame was in the earlier one, 0 after a cut."""
        return float(self.trust.mean())

    def trust_at(self, size: Size) -> Floats:
        """The trust at another size, float32 [height, width]."""
        return np.asarray(cv2.resize(self.trust, (size.width, size.height), interpolation=cv2.INTER_LINEAR))

    def warped(self, image: Image) -> Image:
        """An image of any size as it moves along with the picture; what comes from outside the picture is 0."""
        height, width = image.shape[1:]
        rows, columns = self.backward.shape[:2]
        flow = cv2.resize(self.backward, (width, height), interpolation=cv2.INTER_LINEAR)
        x = flow[..., 0] * np.float32(width / columns) + np.arange(width, dtype=np.float32)
        y = flow[..., 1] * np.float32(height / rows) + np.arange(height, dtype=np.float32)[:, None]
        planes = [cv2.remap(plane, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT) for plane in image]
        return np.stack(planes)


def motion_between(frame: Pixels, earlier: Pixels, flow: FlowMethod) -> Motion:
    """Computes how the picture has moved to `frame` from `earlier`, both [height, width, 3] of one size."""
    now = _lightness(frame)
    before = _as_bright_as(now, _lightness(earlier))
    backward, forward = flow(now, before), flow(before, now)
    height, width = now.shape
    x, y = backward[..., 0] + np.arange(width, dtype=np.float32), backward[..., 1]
    y = y + np.arange(height, dtype=np.float32)[:, None]
    there = cv2.remap(forward, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    lengths = (backward**2).sum(2) + (there**2).sum(2)
    agrees = ((backward + there) ** 2).sum(2) < _DISAGREEMENT_SHARE * lengths + _DISAGREEMENT
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    warped = cv2.remap(before, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    shows_the_same = cv2.absdiff(now, warped) < _OTHER_CONTENT
    trust = np.where(agrees, 1.0, np.where(shows_the_same, _HALF_TRUST, 0.0)) * inside
    return Motion(backward, cv2.GaussianBlur(trust.astype(np.float32), (0, 0), _TRUST_BLUR))


def _lightness(frame: Pixels) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(shrink(in_eight_bits(frame), _FLOW_SIZE), cv2.COLOR_RGB2GRAY), np.uint8)


def _as_bright_as(frame: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Another frame with the mean and, within limits, the contrast of a frame, so that a fade is no motion."""
    (mean, contrast), (other_mean, other_contrast) = ((float(one.mean()), float(one.std())) for one in (frame, other))
    gain = min(max(contrast / max(other_contrast, 1.0), 1 / _MAX_GAIN), _MAX_GAIN)
    if abs(gain - 1) < _SMALL_GAIN and abs(mean - other_mean) < _SMALL_SHIFT:
        return other  # rounding would disturb the flow in smooth places
    return np.asarray(
        rounded((other - np.float32(other_mean)) * np.float32(gain) + np.float32(mean), other.dtype), np.uint8
    )
