"""Options turned into a job: presets and bundles, files, noise, records, and contradictions."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest
from make_tiny_bundle import TINY_PATH
from pictures_fixture import MEAN, TINY_BYTES, bundle_bytes, node, noise, save

from onnxdream.models.assembly import DEFAULT
from onnxdream.models.library import bundle_folder
from onnxdream.runtime import Bundle, Execution, Settings, dream
from onnxdream.runtime.dream.job import dream_and_save
from onnxdream.runtime.dream.request import DreamRequest, parse_request
from onnxdream.runtime.dream.writer import Callbacks, Job
from onnxdream.runtime.errors import ProviderError, RecordError, SettingsError
from onnxdream.runtime.image.files import read_note
from onnxdream.runtime.image.source import Source
from onnxdream.runtime.provider import selection
from onnxdream.runtime.provider.cards import PROVIDERS
from onnxdream.runtime.settings.presets import DEFAULT_LOOK, PRESETS

CPU = {"provider": "cpu", "threads": 1}
SILENT = Callbacks(lambda line: None, lambda step: None)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a picture, a mask, a guide and the tiny bundle in it; plots are left out."""
    from onnxdream.runtime.dream import writer

    monkeypatch.setattr(writer, "can_plot", lambda: False)
    path = tmp_path / "here"
    for number, name in enumerate(("bears", "mask", "guide")):
        save(path / f"{name}.png", noise(40, 53, seed=number))
    (path / "tiny.onnx").write_bytes(TINY_BYTES)
    monkeypatch.chdir(path)
    return path


def request_of(with_images: bool = True, **options: Any) -> DreamRequest:
    return parse_request({"model": "tiny.onnx", **options}, with_images)


# A new dream


def test_without_options_the_job_is_the_paper_on_the_first_built_in_bundle() -> None:
    request = parse_request({}, with_images=True)
    assert request.job.bundle.path == DEFAULT.path
    assert request.job == Job(request.job.bundle, Settings())
    assert (request.sources, request.checkpoint) == ((), None)
    assert request.lines[0].startswith("model: v3-low, built in")
    assert request.hint is not None
    assert f"--preset {DEFAULT_LOOK}" in request.hint
    assert DEFAULT_LOOK in PRESETS


def of_precision(path: Path, precision: str) -> str:
    """Writes a bundle of tiny's metadata under another precision; returns its path."""
    from onnxdream.models.contract import Metadata

    bundle = Bundle.load(TINY_BYTES)
    metadata = replace(bundle.metadata, precision=precision).to_json()
    assert Metadata.from_json(metadata).precision == precision
    path.write_bytes(bundle_bytes([*MEAN, node("Mul", "image layer_weights", "gradient")], metadata=metadata))
    return str(path)


def test_a_named_bundle_determines_the_precision(folder: Path) -> None:
    name = of_precision(folder / "half.onnx", "fp16")
    request = request_of(model=name, **CPU)
    assert request.job.settings.execution == Execution("cpu", 1, precision="fp16")
    assert request.lines[-1] == "on the provider cpu, bundles of fp16 are slower than bundles of fp32"
    assert request_of(model=name, precision="fp16", **CPU).job.settings == request.job.settings
    with pytest.raises(SettingsError, match=r"half.onnx is a bundle in fp16, but a run in fp32 needs one in fp32"):
        request_of(model=name, precision="fp32", **CPU)


def test_fp32_on_the_cpu_causes_no_warning() -> None:
    assert not [line for line in request_of(**CPU).lines if "slower" in line]


def test_a_precision_that_no_provider_supports_is_refused() -> None:
    with pytest.raises(ProviderError, match="provider cpu cannot compute in bf16"):
        request_of(precision="bf16", **CPU)
    with pytest.raises(SettingsError, match="precision must be one of fp32, bf16, fp16, mixed"):
        request_of(precision="fp8", **CPU)


def test_a_bundle_is_a_path_a_name_or_the_beginning_of_one() -> None:
    bundle_folder().mkdir(parents=True)
    (bundle_folder() / "small-net.onnx").write_bytes(TINY_BYTES)
    for name in ("tiny.onnx", "small-net", "small"):
        request = parse_request({"model": name}, with_images=True)
        assert request.job.bundle.metadata.backbone == "tiny"


def test_options_become_settings_files_and_execution() -> None:
    request = request_of(
        **CPU,
        memory="900MB",
        steps=7,
        channels=["low:1,-2", "mid:0"],
        layer_weights="low=2,mid=3,high=-1",
        max_size=0,
        output=Path("out"),
        mask=Path("mask.png"),
        film=Path("film.mp4"),
        every=3,
        overwrite=True,
    )
    job = request.job
    assert job.settings == Settings(
        steps=7,
        channels=("low:1,-2", "mid:0"),
        layer_weights={"low": 2.0, "mid": 3.0, "high": -1.0},
        max_size=None,
        execution=Execution("cpu", 1, 900 * 10**6),
    )
    assert (job.output, job.mask, job.film) == (Path("out"), Path("mask.png"), Path("film.mp4"))
    assert (job.film_every, job.overwrite) == (3, True)
    assert request_of(guide=Path("guide.png")).job.guide == Path("guide.png")
    assert request_of(direction="mask.png,guide.png").job.direction == (Path("mask.png"), Path("guide.png"))


def test_what_is_maximised_is_chosen_in_one_way() -> None:
    choices: dict[str, Any] = {
        "channels": ["low:1"],
        "pick": "weakest",
        "direction": "mask.png,guide.png",
        "guide": Path("guide.png"),
    }
    for one, other in itertools.combinations(choices, 2):
        with pytest.raises(SettingsError, match=f"{one}.* and .*{other} contradict each other: give one of them"):
            request_of(**{name: choices[name] for name in (one, other)})


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "keras"])
def test_a_preset_alone_determines_its_bundle_and_its_layers(name: str) -> None:
    request = parse_request({"preset": name, "steps": 5}, with_images=True)
    preset, settings = PRESETS[name], request.job.settings
    assert settings == replace(preset.with_changes({"steps": 5}))
    assert request.job.bundle.is_built_in
    names = request.job.bundle.metadata.layer_names
    if not settings.channels:
        assert [bool(weight) for weight in settings.weights_of(names)] == [layer in preset.layers for layer in names]
    provider = f"provider: {request.job.choice.machine.provider}"
    assert request.lines[1:] == [provider, f"preset: {name}. {preset.sentence}"]
    assert request.hint is None


def test_a_preset_whose_layers_the_bundle_lacks_is_refused_unless_layers_are_given() -> None:
    with pytest.raises(SettingsError, match=r"preset paper maximises mixed0, .* the bundle has no mixed0"):
        request_of(preset="paper")
    assert request_of(preset="tutorial", layers="mid").job.settings == replace(
        PRESETS["tutorial"].settings, layer_weights={"mid": 1.0}
    )
    assert request_of(preset="tutorial", channels=["mid:1"]).job.settings.weights_of(("low", "mid", "high")) == [
        0,
        1,
        0,
    ]


def test_a_guide_replaces_the_channels_of_a_preset_and_keeps_its_layers() -> None:
    settings = parse_request({"preset": "feathers", "guide": "guide.png"}, with_images=True).job.settings
    assert PRESETS["feathers"].settings.channels
    assert (settings.channels, settings.layer_weights) == ((), {"mixed3": 1.0})
    for options in ({"guide_by": "caricature"}, {"direction": "mask.png,guide.png"}):
        assert parse_request({"preset": "feathers", **options}, with_images=True).job.settings.channels == ()
    kept = parse_request({"preset": "feathers", "guide_by": "surplus"}, with_images=True).job.settings
    assert kept.channels == PRESETS["feathers"].settings.channels


def test_a_bundle_of_another_objective_causes_a_notice() -> None:
    lines = parse_request({"preset": "tutorial", "model": "v3-mid-l2"}, with_images=True).lines
    command = "onnxdream export --model v3 --layers mixed3,mixed5"
    assert lines[-1] == f"preset tutorial is made for another objective: export a bundle with {command}"


def test_the_named_layers_have_weight_1_and_the_others_0() -> None:
    names = ("low", "mid", "high")
    for given in ("high, low", ["high", "low"]):
        assert request_of(layers=given).job.settings.weights_of(names) == [1, 0, 1]
    assert request_of(channels=["mid:2", "high:-1"]).job.settings.weights_of(names) == [0, 1, 1]
    both = request_of(channels=["mid:2"], layer_weights="mid=-2,low=1").job.settings
    assert both.weights_of(names) == [1, -2, 0]


def test_a_config_file_is_read_and_the_command_line_overrides_it() -> None:
    Path("run.toml").write_text(
        'preset = "tutorial"\nsteps = 5\njitter = 3\nmodel = "tiny.onnx"\noutput = "out"\nlayers = ["low"]\n'
    )
    request = parse_request({"config": Path("run.toml"), "jitter": 4}, with_images=True)
    expected = replace(PRESETS["tutorial"].settings, steps=5, jitter=4, layer_weights={"low": 1.0})
    assert request.job.settings == expected
    assert request.job.output == Path("out")
    assert request.job.bundle.metadata.backbone == "tiny"


def test_noise_is_a_source() -> None:
    request = request_of(with_images=False, noise="64x48", seed=3)
    (source,) = request.sources
    assert source == Source.of_noise((64, 48))
    assert source.read(request.job.settings).pixels.shape == (48, 64, 3)
    Path("noise.toml").write_text("noise = [64, 48]\nseed = 3\n")
    assert parse_request({"model": "tiny.onnx", "config": "noise.toml"}, with_images=False).sources == request.sources


def test_the_choice_of_auto_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with onnxruntime-openvino: the self-test is imitated."""
    monkeypatch.setattr(
        ort, "get_available_providers", lambda: [PROVIDERS["openvino"].ort_name, "CPUExecutionProvider"]
    )
    monkeypatch.setattr(selection, "self_test", lambda *_: None)
    chosen = parse_request({"model": str(TINY_PATH)}, True)
    assert chosen.job.choice.machine.provider == "openvino"
    assert "provider: openvino (chosen by auto)" in chosen.lines
    for provider in ("cpu", "openvino"):
        asked_for = parse_request({"model": str(TINY_PATH), "provider": provider}, True)
        assert asked_for.job.choice.machine.provider == provider
        assert f"provider: {provider}" in asked_for.lines


def test_more_threads_than_cores_are_reported_once() -> None:
    lines = parse_request({"model": str(TINY_PATH), "provider": "cpu", "threads": 999}, True).lines
    assert len([line for line in lines if line.startswith("999 threads on ")]) == 1


def test_a_provider_that_does_not_work_is_reported(broken_cuda: str) -> None:
    request = request_of()
    assert request.lines[-1] == request.job.choice.notice == broken_cuda


CONTRADICTIONS: dict[str, tuple[Mapping[str, Any], str]] = {
    "noise and a picture": ({"noise": "64x48"}, "noise is dreamed instead of a picture"),
    "more octaves above than octaves": ({"octaves": 2, "octaves_above": 2}, "octaves above (2) must be fewer"),
    "channels and pick": ({"channels": ["low:1"], "pick": "weakest"}, "channels and pick contradict each other"),
    "an unknown preset": ({"preset": "deep"}, "unknown preset 'deep': choose one of "),
    "a misspelt preset": ({"preset": "tutorail"}, "unknown preset 'tutorail': did you mean tutorial; the command"),
    "an unknown layer": ({"layers": "zzz"}, "layer 'zzz' is not in the bundle: it has low, mid, high"),
    "a misspelt layer": ({"layer_weights": "lowest=1"}, "layer 'lowest' is not in the bundle: the nearest are low"),
    "a misspelt layer of channels": (
        {"channels": ["midd:1"]},
        "layer 'midd' is not in the bundle: the nearest are mid",
    ),
    "an unknown channel": ({"channels": ["low:999"]}, "channel 999 is not in low: it has channels 0 to 13"),
    "channels of a layer that is left out": (
        {"channels": ["low:1"], "layers": "mid"},
        "channels of low are chosen, but the layers leave it out",
    ),
    "layers and layer weights": ({"layers": "low", "layer_weights": "low=1"}, "layers and layer weights contradict"),
    "a layer twice": ({"layers": "low,low"}, "layers 'low,low': write each layer once, as in mixed3,mixed5"),
    "layers that are not names": ({"layers": [3]}, "layers must be names, as in mixed3,mixed5, not [3]"),
    "no layer at all": ({"layer_weights": "low=0"}, "all layer weights are 0"),
    "no step": ({"steps": 0}, "steps must be a whole number from 1"),
    "an invalid memory size": ({"memory": "much"}, "memory 'much': write a size"),
    "a film that stands still": ({"film": Path("x.mp4"), "fps": 0}, "fps must be a whole number from 1 to 120, not 0"),
    "a film without frames": ({"film": Path("x.mp4"), "every": 0}, "every must be a whole number from 1, not 0"),
    "a missing config": ({"config": Path("lost.toml")}, "no config file lost.toml"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradictions_are_refused(case: str) -> None:
    options, words = CONTRADICTIONS[case]
    with pytest.raises(SettingsError) as refusal:
        request_of(**options)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_no_picture_is_refused() -> None:
    with pytest.raises(SettingsError, match="no picture given: name one"):
        request_of(with_images=False)


# Repeating a dream


def record_of(settings: Settings, source: Source | None = None, **more: Any) -> Path:
    """Dreams bears.png or another source for 2 steps; returns the path of the record."""
    job = Job(Bundle.load("tiny.onnx"), replace(settings, steps=2, snapshots=(), execution=Execution("cpu", 1)), **more)
    _, results = dream_and_save(job, source or Source(Path("bears.png")), SILENT)
    return results.record


def test_a_record_is_repeated_with_its_settings_its_bundle_and_its_files() -> None:
    settings = Settings(octaves=2, jitter=3, feather=1.5)
    record = record_of(settings, mask=Path("mask.png"), guide=Path("guide.png"))
    request = parse_request({"repeat": record, "output": Path("out"), "overwrite": True}, with_images=False)
    job = request.job
    assert replace(job.settings, execution=Execution()) == replace(settings, steps=2, snapshots=())
    assert job.settings.execution.threads == 1
    assert job.settings.execution.tile_pixels is not None
    assert job.bundle.data == TINY_BYTES
    assert (job.mask, job.guide) == (Path("mask.png").resolve(), Path("guide.png").resolve())
    assert (job.output, job.overwrite) == (Path("out"), True)
    assert request.sources == (Source(Path("bears.png").resolve()),)
    assert request.lines[0].startswith("model: tiny.onnx")


def test_a_record_is_repeated_with_another_picture() -> None:
    request = parse_request({"repeat": record_of(Settings())}, with_images=True)
    assert request.sources == ()


def test_repeated_noise_is_the_same_noise() -> None:
    settings = Settings(noise=(40, 30), seed=4)
    record = record_of(settings, Source.of_noise((40, 30)))
    request = parse_request({"repeat": record, "output": Path("again")}, with_images=False)
    (source,) = request.sources
    repeated, _ = dream_and_save(request.job, source, SILENT)
    first = dream(None, Bundle.load(TINY_PATH), request.job.settings)
    assert (repeated.picture == first.picture).all()
    assert (repeated.losses == first.losses).all()


def test_repeating_noise_on_a_picture_removes_noise_from_the_settings() -> None:
    record = record_of(Settings(noise=(40, 30)), Source.of_noise((40, 30)))
    request = parse_request({"repeat": record}, with_images=True)
    assert request.job.settings.noise is None
    assert request.sources == ()


def repeated(record: Path, with_images: bool = False, **options: Any) -> Job:
    return parse_request({"repeat": record, **options}, with_images).job


def test_options_override_the_settings_of_a_record() -> None:
    record = record_of(Settings(octaves=2, jitter=3, layer_weights={"low": 1.0}), mask=Path("mask.png"))
    before, after = repeated(record), repeated(record, steps=200, seed=3, feather=2.0, every=5)
    assert after.settings == replace(before.settings, steps=200, seed=3, feather=2.0)
    assert (after.bundle.data, after.mask, after.film_every) == (TINY_BYTES, before.mask, 5)
    assert repeated(record, mask=Path("guide.png")).mask == Path("guide.png")
    Path("mask.png").unlink()  # which another mask makes needless
    assert repeated(record, mask=Path("guide.png")).mask == Path("guide.png")


def test_a_config_file_overrides_a_record_and_options_both() -> None:
    Path("run.toml").write_text("steps = 7\nseed = 7\n")
    settings = repeated(record_of(Settings(jitter=3)), config=Path("run.toml"), seed=8).settings
    assert (settings.steps, settings.seed, settings.jitter) == (7, 8, 3)


def test_layers_and_channels_override_those_of_a_record() -> None:
    record = record_of(Settings(channels=("low:1",)))
    assert repeated(record, layers="mid").settings.weights_of(("low", "mid", "high")) == [0, 1, 0]
    assert repeated(record, channels=["mid:2"]).settings.channels == ("mid:2",)
    assert repeated(record, guide=Path("guide.png")).settings.channels == ()
    guided = record_of(Settings(guide_by="cosine"), guide=Path("guide.png"))
    assert repeated(guided).settings.guide_by == "cosine"
    for options in ({"pick": "weakest"}, {"channels": ["low:1"]}, {"direction": "mask.png,guide.png"}):
        job = repeated(guided, **options)
        assert (job.guide, job.settings.guide_by) == (None, "surplus")
    assert repeated(record, guide_by="caricature").settings.channels == ()


def test_a_direction_is_repeated_by_its_files_and_replaced_by_another_choice() -> None:
    record = record_of(Settings(), direction=(Path("mask.png"), Path("guide.png")))
    job = repeated(record)
    assert job.direction == (Path("mask.png").resolve(), Path("guide.png").resolve())
    for options in ({"pick": "weakest"}, {"guide": Path("mask.png")}, {"preset": "eyes"}):
        assert repeated(record, **options).direction == ()
    assert repeated(record, direction="guide.png,mask.png").direction == (Path("guide.png"), Path("mask.png"))
    save(Path("guide.png"), noise(40, 40, seed=99))
    with pytest.raises(RecordError, match=r"guide\.png is missing or has changed"):
        repeated(record)


def test_a_record_in_a_picture_names_a_direction_without_its_folder() -> None:
    record = record_of(Settings(), direction=(Path("mask.png"), Path("guide.png")))
    note = read_note(record.with_suffix(".png"))
    assert note is not None
    assert [file["path"] for file in json.loads(note)["direction"]] == [None, None]
    assert [Path(file["path"]).name for file in json.loads(record.read_text())["direction"]] == [
        "mask.png",
        "guide.png",
    ]


def test_a_record_is_repeated_with_another_bundle() -> None:
    record = record_of(Settings(jitter=3))
    Path("tiny.onnx").rename("other.onnx")
    job = repeated(record, model="v3-low")
    assert (job.bundle.name, job.settings.jitter, job.settings.execution.threads) == ("v3-low", 3, 1)
    half = of_precision(Path("half.onnx"), "fp16")
    assert repeated(record, model=half).settings.execution.precision == "fp16"
    with pytest.raises(SettingsError, match="layer 'zzz' is not in the bundle"):
        repeated(record, model="v3-low", layers="zzz")


def test_a_preset_replaces_the_settings_of_a_record_but_not_its_picture_and_machine() -> None:
    record = record_of(Settings(octaves=2, jitter=3, seed=4), guide=Path("guide.png"), mask=Path("mask.png"))
    request = parse_request({"repeat": record, "preset": "feathers", "steps": 5}, with_images=False)
    settings = request.job.settings
    assert replace(settings, execution=Execution()) == PRESETS["feathers"].with_changes({"steps": 5, "seed": 4})
    assert (settings.execution.provider, settings.execution.threads) == ("cpu", 1)
    assert request.job.bundle.name == "v3-mid-l2"
    assert (request.job.guide, request.job.mask) == (None, Path("mask.png").resolve())
    assert request.sources == (Source(Path("bears.png").resolve()),)
    noisy = record_of(Settings(noise=(40, 30), seed=4), Source.of_noise((40, 30)))
    assert parse_request({"repeat": noisy, "preset": "eyes"}, with_images=False).sources == (Source.of_noise((40, 30)),)


def test_noise_replaces_the_picture_of_a_record() -> None:
    request = parse_request({"repeat": record_of(Settings()), "noise": "64x48"}, with_images=False)
    assert request.sources == (Source.of_noise((64, 48)),)


def test_the_tiles_of_a_record_are_kept_only_where_they_still_apply() -> None:
    record = record_of(Settings())
    assert repeated(record).settings.execution.tile_pixels is not None
    kept = repeated(record, steps=3).settings.execution
    assert kept.tile_pixels == repeated(record).settings.execution.tile_pixels
    for change in ({"max_size": 300}, {"memory": "1GB"}, {"octaves": 2}, {"model": "tiny.onnx"}):
        assert repeated(record, **change).settings.execution.tile_pixels is None


def test_a_record_with_a_byte_order_mark_is_read() -> None:
    record = record_of(Settings())
    record.write_bytes(b"\xef\xbb\xbf" + record.read_bytes())
    assert repeated(record).settings.steps == 2


# Saving the options


@pytest.mark.parametrize(
    "options",
    [
        {"model": "tiny.onnx", "layers": "low,mid", "max_size": 0, "memory": "900MB", **CPU},
        {"model": "tiny.onnx", "mask": "mask.png", "feather": 2.0, "film": "a.mp4", "every": 3, "output": "out"},
        {"model": "tiny.onnx", "guide": "guide.png", "extras": False},
        {"model": "tiny.onnx", "guide": "guide.png", "guide_by": "caricature:3", "until": ["low:1=2"], "stay": 0.2},
        {"model": "tiny.onnx", "direction": "mask.png,guide.png"},
        {"preset": "masks", "steps": 3},
        {},
    ],
)
def test_saved_options_make_the_same_job(options: dict[str, Any]) -> None:
    request = parse_request({**options, "save_config": "run.toml"}, with_images=True)
    assert not Path("run.toml").exists()
    assert request.config is not None
    request.config.write()
    again = parse_request({"config": "run.toml"}, with_images=True)
    assert again.job.bundle.sha256 == request.job.bundle.sha256
    assert replace(again.job, bundle=request.job.bundle) == request.job
    assert [line for line in again.lines if "no effect" in line] == []


def test_the_options_of_a_repeated_dream_can_be_saved() -> None:
    record = record_of(Settings(noise=(40, 30), seed=4), Source.of_noise((40, 30)))
    request = parse_request({"repeat": record, "steps": 9, "save_config": Path("run.toml")}, with_images=False)
    assert request.config is not None
    request.config.write()
    assert parse_request({"config": "run.toml"}, with_images=False).job.settings == request.job.settings


def test_an_exported_bundle_is_saved_by_its_name_and_a_named_one_as_it_was_named() -> None:
    bundle_folder().mkdir(parents=True)
    of_precision(bundle_folder() / "half.onnx", "fp16")
    for options, saved in (
        ({"precision": "fp16"}, "half.onnx"),
        ({"model": "ha"}, "ha"),
        ({"preset": "eyes"}, "v3-mid-l2"),
    ):
        request = parse_request({**options, **CPU, "save_config": "run.toml"}, with_images=True)
        assert request.config is not None
        assert request.config.options["model"] == saved


def test_options_are_saved_without_a_picture() -> None:
    request = request_of(with_images=False, steps=3, save_config=Path("run.toml"), overwrite=True)
    assert (request.sources, request.lines) == ((), [])
    assert request.config is not None
    assert request.config.overwrite


# Paths


@pytest.mark.parametrize("name", ["output", "mask", "guide", "film"])
def test_the_home_folder_is_expanded(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert getattr(request_of(**{name: Path("~/x")}).job, name) == tmp_path / "x"


def test_the_home_folder_is_expanded_in_files_that_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "run.toml").write_text("steps = 3\n")
    assert request_of(config=Path("~/run.toml")).job.settings.steps == 3
    record = record_of(Settings())
    record.rename(tmp_path / "bears.json")
    assert repeated(Path("~/bears.json")).settings.steps == 2
    with pytest.raises(RecordError, match=f"no checkpoint {tmp_path}"):
        parse_request({"resume": Path("~/x.checkpoint")}, with_images=False)


@pytest.mark.parametrize("name", ["mask", "guide", "film", "config", "repeat", "resume", "save_config"])
def test_a_pipe_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=rf"--{name.replace('_', '-')} cannot be - \(.*\): name a file"):
        parse_request({name: Path("-")}, with_images=True)


# Options without effect


def test_options_without_effect_are_reported_wherever_the_user_named_them() -> None:
    line = "--feather has no effect without --mask"
    assert request_of(feather=3.0).lines[-1] == line
    Path("run.toml").write_text("feather = 3.0\n")
    assert request_of(config=Path("run.toml")).lines[-1] == line
    assert line not in request_of(feather=3.0, mask=Path("mask.png")).lines
    assert line not in parse_request({"repeat": record_of(Settings(feather=3.0))}, with_images=False).lines


@pytest.mark.parametrize("lost", ["mask.png", "guide.png", "bears.png"])
def test_a_lost_file_of_a_record_is_named(lost: str) -> None:
    record = record_of(Settings(), mask=Path("mask.png"), guide=Path("guide.png"))
    Path(lost).unlink()
    with pytest.raises(RecordError, match=f"{lost} is missing or has changed"):
        parse_request({"repeat": record}, with_images=False)


@pytest.mark.parametrize("noise_size", [[3], [3, 4, 5], [0, 4], "64x48", [4.5, 3]])
def test_a_record_with_an_invalid_noise_size_is_refused(noise_size: Any) -> None:
    record = record_of(Settings())
    data = json.loads(record.read_text())
    data["settings"]["noise"] = noise_size
    record.write_text(json.dumps(data))
    with pytest.raises(RecordError, match="noise"):
        parse_request({"repeat": record}, with_images=False)


# Resuming; test_checkpoint has the other tests of it


@pytest.mark.parametrize("more", [{"steps": 3}, {"repeat": Path("x.json")}, {"output": Path("x")}, {"overwrite": True}])
def test_resume_takes_no_other_option(more: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="--resume takes everything from the checkpoint"):
        parse_request({"resume": Path("x.checkpoint"), **more}, with_images=False)
    with pytest.raises(SettingsError, match="--resume takes everything from the checkpoint"):
        parse_request({"resume": Path("x.checkpoint")}, with_images=True)
