"""Pictures converted into images and back: octaves, masks, colours, levels, sizes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures_fixture import noise

from onnxdream.models.arrays import Image, Pixels, Size
from onnxdream.models.contract import INPUT_RANGE, Metadata
from onnxdream.runtime.bundle.bundle import Bundle
from onnxdream.runtime.dream.run import dream
from onnxdream.runtime.errors import SettingsError
from onnxdream.runtime.image.octaves import octave_sizes
from onnxdream.runtime.image.processor import ImageProcessor, Mask
from onnxdream.runtime.image.resizing import resize
from onnxdream.runtime.settings.colours import own_colours
from onnxdream.runtime.settings.settings import Execution, Settings

CPU = Execution("cpu", 1)
PLAIN = Settings(normalization="backbone", execution=CPU)
# The chroma of red, green and blue, and their lightness, as in JPEG's YCbCr (ITU-R BT.601).
CB, CR = np.array([-0.168736, -0.331264, 0.5]), np.array([0.5, -0.418688, -0.081312])
LIGHTNESS = np.array([0.299, 0.587, 0.114])


@pytest.fixture(scope="module")
def tiny(tiny_path: Path) -> Bundle:
    return Bundle.load(tiny_path)


@pytest.fixture(scope="module")
def metadata(tiny: Bundle) -> Metadata:
    return tiny.metadata


def changed_image(processor: ImageProcessor, strength: float = 0.1) -> Image:
    """The image of the largest octave with a random change of at most `strength` in every value."""
    base = processor.base(processor.largest_octave)
    change = np.random.default_rng(5).uniform(-strength, strength, base.shape)
    return base + change.astype(np.float32)


def grey(height: int, width: int, level: int, dtype: type = np.uint8) -> Pixels:
    return np.full((height, width, 3), level, dtype)


# Sizes.


@pytest.mark.parametrize("octaves", [(1, 0), (3, 0), (3, 2)])
@pytest.mark.parametrize("max_size", [None, 60])
@pytest.mark.parametrize("full_size", [False, True])
@pytest.mark.parametrize("octave_return", [False, True])
def test_the_result_has_result_size(
    metadata: Metadata, octaves: tuple[int, int], max_size: int | None, full_size: bool, octave_return: bool
) -> None:
    settings = replace(
        PLAIN,
        octaves=octaves[0],
        octaves_above=octaves[1],
        max_size=max_size,
        full_size=full_size,
        octave_return=octave_return,
    )
    processor = ImageProcessor(noise(80, 120), metadata, settings)
    small = (80, 120) if max_size is None else (40, 60)
    assert processor.size == small
    assert processor.octaves == octave_sizes(Size(*small), metadata.smallest_size, *octaves, 1.4)
    assert processor.largest_octave == (tuple(int(side * 1.4**2) for side in small) if octaves[1] else small)
    expected = (80, 120) if full_size else small if octave_return else processor.largest_octave
    assert processor.result_size == expected
    assert processor.postprocess(changed_image(processor)).shape == (*expected, 3)


def test_every_octave_has_a_base_of_its_size_within_the_range(metadata: Metadata) -> None:
    for interpolation in ("area", "linear", "pyramid"):
        settings = replace(PLAIN, octaves=4, octaves_above=1, max_size=100, interpolation=interpolation)
        processor = ImageProcessor(noise(140, 200), metadata, settings)
        for size in processor.octaves:
            base = processor.base(size)
            assert base.shape == (3, *size)
            assert base.min() >= -1.05  # cubic enlarging overshoots
            assert base.mean() == pytest.approx(processor.base(processor.size).mean(), abs=0.02)


def test_octaves_above_the_working_size_use_the_detail_of_the_original(metadata: Metadata) -> None:
    picture = noise(160, 240)
    processor = ImageProcessor(
        picture, metadata, replace(PLAIN, max_size=120, octaves=2, octaves_above=1, octave_scale=2.0)
    )
    assert processor.octaves == [(80, 120), (160, 240)]
    np.testing.assert_allclose(processor.base((160, 240)), processor.scale.to_image(picture), atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("normalization", ["minmax", "backbone"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("full_size", [False, True])
def test_an_undreamed_image_becomes_the_original_picture(
    metadata: Metadata, dtype: type, normalization: Any, channels: int, full_size: bool
) -> None:
    picture = noise(50, 70, channels, dtype)
    processor = ImageProcessor(picture, metadata, replace(PLAIN, normalization=normalization, full_size=full_size))
    result = processor.postprocess(processor.base(processor.size))
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, picture)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_alpha_stays_while_colours_change(metadata: Metadata, dtype: type) -> None:
    picture = noise(60, 80, 4, dtype)
    for choices in ({}, {"full_size": True}, {"colours": "lightness"}, {"blend": 0.5}):
        processor = ImageProcessor(picture, metadata, replace(PLAIN, **choices))
        result = processor.postprocess(changed_image(processor))
        np.testing.assert_array_equal(result[..., 3], picture[..., 3])
        assert (result[..., :3] != picture[..., :3]).mean() > 0.5


def test_alpha_grows_with_octaves_above(metadata: Metadata) -> None:
    picture = noise(60, 80, 4)
    processor = ImageProcessor(picture, metadata, replace(PLAIN, octaves=2, octaves_above=1))
    result = processor.postprocess(changed_image(processor))
    np.testing.assert_array_equal(result[..., 3], resize(picture, 112, 84)[..., 3])


def test_a_full_size_result_is_the_original_and_the_change_enlarged(metadata: Metadata) -> None:
    picture = noise(160, 240)
    processor = ImageProcessor(picture, metadata, replace(PLAIN, max_size=60, full_size=True))
    untouched = processor.base(processor.size)
    np.testing.assert_array_equal(processor.postprocess(untouched), picture)
    brighter = processor.postprocess(untouched + np.float32(10 / 127.5))
    np.testing.assert_array_equal(brighter, picture + 10)


@pytest.mark.parametrize("full_size", [False, True])
def test_values_out_of_range_are_clipped_and_nan_becomes_a_level(metadata: Metadata, full_size: bool) -> None:
    processor = ImageProcessor(grey(40, 40, 128), metadata, replace(PLAIN, full_size=full_size))
    image = processor.base((40, 40))
    image[:, :10], image[:, 10:20] = 1e9, -1e9
    result = processor.postprocess(image)
    assert (result[:10] == 255).mean() > 0.9
    assert (result[10:20] == 0).mean() > 0.8
    image[0, 30, 30] = np.nan
    processor.postprocess(image)


def test_a_picture_that_is_too_small_is_enlarged_and_one_too_narrow_refused(metadata: Metadata) -> None:
    assert ImageProcessor(noise(10, 20), metadata, PLAIN).size == (19, 38)
    with pytest.raises(SettingsError, match="5000x10 is too narrow"):
        ImageProcessor(noise(10, 5000), metadata, PLAIN)


# Levels.


@pytest.mark.parametrize(("dtype", "max_value"), [(np.uint8, 255), (np.uint16, 65535)])
def test_quantizing_rounds_down_to_the_levels_of_a_picture(metadata: Metadata, dtype: type, max_value: int) -> None:
    processor = ImageProcessor(noise(40, 50, dtype=dtype), metadata, PLAIN)
    pixels = np.random.default_rng(0).uniform(-0.1 * max_value, 1.1 * max_value, (40, 50, 3))
    rounded = processor.quantized(processor.scale.to_image(pixels))
    restored = np.stack([processor.scale.to_pixels(plane) for plane in rounded], axis=2)
    expected = np.floor(np.clip(pixels, 0, max_value))
    assert np.abs(restored - np.rint(restored)).max() < 0.01
    assert (np.rint(restored) == expected).mean() > 0.96  # _EPSILON shifts 1 in 30 of 65536 levels
    assert np.abs(restored - expected).max() < 1.01
    if dtype is np.uint8:
        assert (np.rint(pixels) != expected).mean() > 0.3


@pytest.mark.parametrize("normalization", ["minmax", "backbone"])
def test_quantizing_leaves_levels_unchanged(metadata: Metadata, normalization: Any) -> None:
    levels = np.arange(256 * 6, dtype=np.uint16).reshape(32, 48, 1) % 256
    picture = np.repeat(levels, 3, axis=2).astype(np.uint8)
    processor = ImageProcessor(picture, metadata, replace(PLAIN, normalization=normalization))
    base = processor.base(processor.size)
    np.testing.assert_array_equal(processor.postprocess(processor.quantized(base)), picture)
    np.testing.assert_allclose(processor.quantized(base), base, atol=1e-5)


# Colours.


def test_lightness_keeps_the_picture_s_colours_and_the_dream_s_lightness(metadata: Metadata) -> None:
    picture = noise(60, 80) // 2 + 60
    free, kept = (
        ImageProcessor(picture, metadata, replace(PLAIN, colours=colours)) for colours in ("free", "lightness")
    )
    image = changed_image(free, 0.25)
    free_result, result = (processor.postprocess(image).astype(np.float64) for processor in (free, kept))
    assert result.min() > 0
    assert result.max() < 255
    for chroma in (CB, CR):
        assert np.abs((result - picture) @ chroma).max() <= 0.5 + 1e-6
        assert np.abs((free_result - picture) @ chroma).max() > 5
    assert np.abs((result - free_result) @ LIGHTNESS).max() <= 0.5 + 1e-4
    assert np.abs((result - picture) @ LIGHTNESS).max() > 5


def test_blending_mixes_the_dream_with_the_picture(metadata: Metadata) -> None:
    picture = noise(60, 80, 4)
    results = {}
    for share in (0.0, 0.25, 0.5, 1.0):
        processor = ImageProcessor(picture, metadata, replace(PLAIN, blend=share))
        results[share] = processor.postprocess(changed_image(processor, 0.5)).astype(np.float64)
    np.testing.assert_array_equal(results[0.0], picture)
    assert np.abs(results[1.0] - picture).max() > 20
    for share in (0.25, 0.5):
        expected = (1 - share) * picture + share * results[1.0]
        assert np.abs(results[share] - expected).max() <= 0.5 + 1e-4


# Masks.


def test_a_mask_is_its_lightness(metadata: Metadata) -> None:
    pixels = grey(4, 5, 0)
    pixels[0, :4] = [[255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]
    for dtype, factor in ((np.uint8, 1), (np.uint16, 257)):
        mask = Mask.of(pixels.astype(dtype) * dtype(factor), grey(4, 5, 9), 0)
        np.testing.assert_allclose(mask.strength[0], [1, 0.299, 0.587, 0.114, 0], atol=1e-5)
        assert not mask.strength[1:].any()
        assert mask.strength.dtype == np.float32


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"mask has 5x4 pixels, the picture 6x4: draw the mask"):
        Mask.of(grey(4, 5, 0), grey(4, 6, 0), 0)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3), (4, 5, 4)])
@pytest.mark.parametrize(
    ("dtype", "white"),
    [(np.uint8, 255), (np.uint16, 65535), (np.bool_, 1), (np.float16, 1), (np.float32, 1), (np.float64, 1)],
)
def test_a_mask_is_an_array_of_any_common_shape_and_type(shape: tuple[int, ...], dtype: Any, white: int) -> None:
    pixels = np.zeros(shape, dtype)
    pixels[1] = white
    strength = Mask.of(pixels, grey(4, 5, 9), 0).strength
    assert strength.dtype == np.float32
    assert strength.shape == (4, 5)
    np.testing.assert_allclose(strength, [[0] * 5, [1] * 5, [0] * 5, [0] * 5], atol=1e-6)
    if dtype not in (np.bool_,):
        half = Mask.of(np.full(shape, white / 2).astype(dtype), grey(4, 5, 9), 2.0).strength
        np.testing.assert_allclose(half, 0.5, atol=2e-3)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((4, 5), np.int64), r"a mask is uint8.* not int64 \[4, 5\]: .*give mask > 0"),
        (np.zeros((4, 5), np.uint32), "not uint32"),
        (np.zeros((4, 5), np.complex64), "not complex64"),
        (np.zeros((4, 5, 2), np.uint8), r"not uint8 \[4, 5, 2\]"),
        (np.zeros((1, 4, 5, 3), np.uint8), r"not uint8 \[1, 4, 5, 3\]"),
        (np.zeros(20, np.uint8), r"not uint8 \[20\]"),
        (np.array(1.0), r"not float64 \[\]"),
        (np.full((4, 5), 255.0), "must be from 0 to 1: divide them"),
        (np.full((4, 5), -0.1), "must be from 0 to 1"),
        (np.full((4, 5), np.nan), "must be from 0 to 1"),
        (np.eye(4, 5, dtype=np.uint8), "as good as black: its largest value is 1 of 255"),
    ],
)
def test_an_array_that_is_not_a_mask_is_refused_in_one_line(mask: Any, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as refused:
        Mask.of(mask, grey(4, 5, 9), 0)
    assert "\n" not in str(refused.value)


def half_mask(height: int, width: int) -> Pixels:
    """A mask that is black on the left and white on the right."""
    pixels = grey(height, width, 0)
    pixels[:, width // 2 :] = 255
    return pixels


def test_feather_softens_the_edge() -> None:
    picture = grey(40, 60, 0)
    hard, soft = (Mask.of(half_mask(40, 60), picture, feather).strength for feather in (0.0, 3.0))
    assert set(np.unique(hard)) == {0, 1}
    row = soft[20]
    assert (np.diff(row) >= -1e-6).all()
    assert row[29] + row[30] == pytest.approx(1, abs=1e-3)
    assert (row[26] + row[27]) / 2 == pytest.approx(0.159, abs=0.02)  # one sigma from the edge
    assert (row[0], row[-1]) == (0, 1)


def test_a_mask_at_another_size_is_averaged() -> None:
    mask = Mask.of(half_mask(40, 60), grey(40, 60, 0), 0)
    assert mask.at((20, 30)).shape == (20, 30)
    np.testing.assert_allclose(mask.at((20, 30))[:, [0, 14, 15, 29]], [[0, 0, 1, 1]] * 20, atol=1e-6)
    assert mask.at((40, 20)).mean() == pytest.approx(0.5, abs=1e-3)
    larger = mask.at((80, 120))
    assert (larger.min(), larger.max()) == (0, 1)


@pytest.mark.parametrize("choices", [{}, {"octaves": 3}, {"full_size": True, "max_size": 40}, {"optimizer": "adam"}])
def test_the_picture_stays_unchanged_where_the_mask_is_black(tiny: Bundle, choices: dict[str, Any]) -> None:
    picture = noise(60, 80)
    settings = replace(PLAIN, steps=3, step_size=0.05, snapshots=(), **choices)
    result = dream(picture, tiny, settings, mask=half_mask(60, 80)).picture
    np.testing.assert_array_equal(result[:, :40], picture[:, :40])
    assert (result[:, 40:] != picture[:, 40:]).mean() > 0.5


def test_a_white_mask_changes_nothing(tiny: Bundle) -> None:
    picture, settings = noise(40, 50), replace(PLAIN, steps=3, octaves=2, snapshots=())
    with_mask = dream(picture, tiny, settings, mask=grey(40, 50, 255))
    np.testing.assert_array_equal(with_mask.picture, dream(picture, tiny, settings).picture)


# Cut-outs.


def cut_out(dtype: type = np.uint8) -> Pixels:
    """A picture that is opaque on the left, half transparent in the middle and invisible on the right."""
    picture = noise(60, 90, 4, dtype)
    for columns, share in ((slice(0, 30), 1.0), (slice(30, 60), 0.5), (slice(60, 90), 0.0)):
        picture[:, columns, 3] = round(share * np.iinfo(dtype).max)
    return picture


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_alpha_is_a_mask_multiplied_with_the_given_one(metadata: Metadata, dtype: type) -> None:
    drawn = Mask.of(half_mask(60, 90), cut_out(dtype), 0)
    alone, both = (ImageProcessor(cut_out(dtype), metadata, PLAIN, mask).mask for mask in (None, drawn))
    assert alone
    assert both
    np.testing.assert_allclose(alone.strength[5, [0, 29, 30, 59, 60, 89]], [1, 1, 0.5, 0.5, 0, 0], atol=0.003)
    np.testing.assert_allclose(both.strength[5, [0, 44, 45, 59, 60]], [0, 0, 0.5, 0.5, 0], atol=0.003)


@pytest.mark.parametrize("choices", [{}, {"octaves": 3}, {"full_size": True, "max_size": 40}])
def test_hidden_pixels_of_a_cut_out_stay(tiny: Bundle, choices: dict[str, Any]) -> None:
    settings = replace(PLAIN, steps=3, step_size=0.05, snapshots=(), **choices)
    picture = cut_out()
    result = dream(picture, tiny, settings).picture
    np.testing.assert_array_equal(result[:, 60:], picture[:, 60:])
    change = np.abs(result.astype(int) - picture)[..., :3]
    assert change[:, :30].mean() > change[:, 35:55].mean() > 1


def test_an_opaque_picture_with_alpha_dreams_as_one_without(tiny: Bundle) -> None:
    settings = replace(PLAIN, steps=3, octaves=2, snapshots=())
    picture = noise(40, 50, 4)
    picture[..., 3] = 255
    result = dream(picture, tiny, settings)
    without = dream(np.ascontiguousarray(picture[..., :3]), tiny, settings)
    np.testing.assert_array_equal(result.picture[..., :3], without.picture)
    np.testing.assert_array_equal(result.losses, without.losses)


def with_hidden(picture: Pixels, colour: tuple[int, int, int]) -> Pixels:
    """The picture with this colour, given in 8 bits, wherever it is invisible."""
    changed = picture.copy()
    changed[picture[..., 3] == 0, :3] = np.array(colour) * (np.iinfo(picture.dtype).max // 255)
    return changed


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("max_size", [None, 45])
def test_hidden_pixels_count_neither_for_the_range_nor_for_own_colours(
    metadata: Metadata, dtype: type, max_size: int | None
) -> None:
    settings = replace(PLAIN, normalization="minmax", colours="own", max_size=max_size)
    size = (30, 45) if max_size else (60, 90)
    garish = ImageProcessor(with_hidden(cut_out(dtype), (0, 255, 255)), metadata, settings)
    pale = ImageProcessor(with_hidden(cut_out(dtype), (120, 125, 130)), metadata, settings)
    assert garish.scale == pale.scale
    np.testing.assert_array_equal(garish.colour_matrix(), pale.colour_matrix())  # type: ignore[arg-type]
    base = pale.base(Size(*size))
    visible = base[:, :, : size[1] * 2 // 3]
    assert (visible.min(), visible.max()) == pytest.approx(INPUT_RANGE, abs=1e-5)
    np.testing.assert_array_equal(pale.colour_matrix(), own_colours(visible, 1.0))  # type: ignore[arg-type]


@pytest.mark.parametrize("choices", [{"max_size": 45}, {"max_size": 45, "octaves": 2, "octaves_above": 1}])
def test_hidden_pixels_stay_within_the_network_s_range(metadata: Metadata, choices: dict[str, Any]) -> None:
    settings = replace(PLAIN, normalization="minmax", **choices)
    processor = ImageProcessor(with_hidden(cut_out(), (0, 255, 255)), metadata, settings)
    assert processor.scale.x_min > 0
    assert processor.scale.x_max < 255
    for size in processor.octaves:
        hidden = processor.base(size)[:, :, -size.width // 4 :]
        assert INPUT_RANGE[0] <= hidden.min() < hidden.max() <= INPUT_RANGE[1]


def test_a_picture_that_is_hidden_everywhere_is_read_as_if_it_were_visible(tiny: Bundle) -> None:
    picture, settings = noise(40, 50, 4), replace(PLAIN, normalization="minmax", colours="own", steps=2, snapshots=())
    picture[..., 3] = 0
    processor = ImageProcessor(picture, tiny.metadata, settings)
    opaque = ImageProcessor(np.ascontiguousarray(picture[..., :3]), tiny.metadata, settings)
    assert processor.scale == opaque.scale
    np.testing.assert_array_equal(processor.colour_matrix(), opaque.colour_matrix())  # type: ignore[arg-type]
    lines: list[str] = []
    np.testing.assert_array_equal(dream(picture, tiny, settings, log=lines.append).picture, picture)
    assert any("will change nothing" in line for line in lines)


# Dreams that nobody can see.


def test_a_picture_without_contrast_is_reported_with_the_remedy(tiny: Bundle) -> None:
    lines: list[str] = []
    flat = grey(40, 50, 0)
    minmax = replace(PLAIN, normalization="minmax", steps=2, snapshots=())
    record = dream(flat, tiny, minmax, log=lines.append).record
    assert "add --normalization backbone" in lines[0]
    assert record.notices == (lines[0],)
    nearly_flat = flat.astype(np.uint16)
    nearly_flat[:20] = 65535 // 17
    assert ImageProcessor(nearly_flat, tiny.metadata, minmax).notices
    nearly_flat[:20] = 65535 // 15
    assert not ImageProcessor(nearly_flat, tiny.metadata, minmax).notices
    assert not ImageProcessor(flat, tiny.metadata, PLAIN).notices


def test_a_picture_of_which_nothing_is_dreamed_is_reported(metadata: Metadata) -> None:
    picture = cut_out()
    drawn = Mask.of(grey(60, 90, 0), picture, 0)
    assert ImageProcessor(picture, metadata, PLAIN).notices == ()
    (line,) = ImageProcessor(picture, metadata, PLAIN, drawn).notices
    assert "will change nothing" in line
