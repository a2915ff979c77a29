"""Train the embedded weights: `python -m … recipe.train --minutes 75 --output v3-motifs.npz`."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import keras
import numpy as np
import typer
from rich.console import Console

from .drawings import Drawings, central_crops, draw_set, in_range, random_batch
from .motifs import NAMES
from .network import TAPS, build_classifier
from .weights import Checkpoint, save_npz

_TRAINING_SEED, _HELD_OUT_SEED = 1, 2
_HELD_OUT = 1500


@dataclass(frozen=True)
class Budget:
    """A training ends after so many steps or minutes of training, whichever is first."""

    steps: float = math.inf
    minutes: float = math.inf

    def spent(self, at: Checkpoint) -> float:
        """The part already used up, from 0; the training is over at 1."""
        return max(at.step / self.steps, at.seconds / 60 / self.minutes)


@dataclass(frozen=True)
class Settings:
    """How a training is done. `crop` is in pixels, `warm_up` in steps, `report_every` in seconds."""

    budget: Budget
    batch: int = 48
    crop: int = 112
    peak_rate: float = 2e-3
    least_rate: float = 1e-5
    warm_up: int = 200
    weight_decay: float = 2e-2
    label_smoothing: float = 0.05
    low_head_weight: float = 0.5
    report_every: float = 120.0


def compile_classifier(settings: Settings) -> keras.Model:
    """A classifier of the motifs with repeatable random weights, and its optimizer."""
    keras.utils.set_random_seed(0)
    model = build_classifier(len(NAMES))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=settings.label_smoothing)
    optimizer = keras.optimizers.AdamW(settings.peak_rate, weight_decay=settings.weight_decay, epsilon=1e-8)
    optimizer.build(model.trainable_variables)
    loss_weights = [settings.low_head_weight, 1.0]
    # XLA, Keras's default, is slower here on a CPU and takes longer to start.
    model.compile(optimizer, [loss] * len(TAPS), loss_weights, jit_compile=False)
    return model


def train(
    model: keras.Model, drawings: Drawings, settings: Settings, start: Checkpoint
) -> Iterator[tuple[Checkpoint, float]]:
    """Train until the budget is spent; after every step, how far it is and that step's loss.

    A step's batch depends on its number alone, so a training that goes on from a checkpoint sees what it
    would have seen.
    """
    at = start
    one_hot = np.eye(len(NAMES), dtype=np.float32)
    while (spent := settings.budget.spent(at)) < 1:
        began = time.perf_counter()
        rng = np.random.default_rng((_TRAINING_SEED, at.step))
        images, labels = random_batch(rng, drawings, settings.batch, settings.crop)
        model.optimizer.learning_rate = learning_rate(at.step, spent, settings)
        targets = one_hot[labels]
        loss = model.train_on_batch(images, [targets] * len(TAPS), return_dict=True)["loss"]
        at = Checkpoint(at.step + 1, at.seconds + time.perf_counter() - began)
        yield at, float(loss)


def train_to_file(
    model: keras.Model,
    training_set: Drawings,
    held_out: Drawings,
    settings: Settings,
    start: Checkpoint,
    output: Path,
) -> None:
    """Train, report and save a checkpoint now and then, and write the finished weights."""
    reported, losses = start, list[float]()
    for at, loss in train(model, training_set, settings, start):
        losses.append(loss)
        over = settings.budget.spent(at) >= 1
        if over or at.seconds - reported.seconds >= settings.report_every:
            at.save(model, checkpoint_of(output))
            right = accuracy(model, held_out, settings)
            Console().print(
                f"{at.seconds / 60:.1f} min, step {at.step}: loss {np.mean(losses):.3f}, held out",
                ", ".join(f"{tap} {part:.1%}" for tap, part in right.items()),
            )
            reported, losses = at, []
    save_npz(model, output)
    checkpoint_of(output).unlink(missing_ok=True)


def accuracy(model: keras.Model, drawings: Drawings, settings: Settings) -> dict[str, float]:
    """For each head, by the layer behind which it is, the part of the drawings that it names rightly."""
    crops = central_crops(drawings, settings.crop)
    right = np.zeros(len(TAPS))
    for first in range(0, len(drawings), settings.batch):
        chunk = slice(first, first + settings.batch)
        heads = model.predict_on_batch(in_range(crops[chunk]))
        right += [np.sum(logits.argmax(1) == drawings.labels[chunk]) for logits in heads]
    return dict(zip(TAPS, (right / len(drawings)).tolist(), strict=True))


def learning_rate(step: int, spent: float, settings: Settings) -> float:
    """Linear warm-up, then half a cosine over the whole budget."""
    warm = min(1.0, step / settings.warm_up)
    return settings.least_rate + settings.peak_rate * warm * (0.5 + 0.5 * math.cos(math.pi * spent))


def checkpoint_of(output: Path) -> Path:
    """Where a training that will write `output` saves its checkpoints."""
    return output.with_suffix(".checkpoint.npz")


def main(
    output: Annotated[Path, typer.Option(help="The weights to write.")] = Path("v3-motifs.npz"),
    steps: Annotated[int | None, typer.Option(min=1, help="Train for so many steps.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.1, help="Train for so many minutes.")] = None,
    drawings: Annotated[int, typer.Option(min=1, help="Pictures to draw and train on.")] = 40_000,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
) -> None:
    """Draw the pictures, train on them, and write the weights.

    Without --steps and --minutes: 9000 steps, as many as the shipped weights had.
    """
    checkpoint = checkpoint_of(output)
    if resume and not checkpoint.exists():
        raise typer.BadParameter(f"there is no checkpoint {checkpoint}: leave --resume out to start anew")
    output.parent.mkdir(parents=True, exist_ok=True)
    limited = Budget(steps or math.inf, minutes or math.inf)
    settings = Settings(limited if steps or minutes else Budget(steps=9000))
    model = compile_classifier(settings)
    start = Checkpoint.restore(model, checkpoint) if resume else Checkpoint(0, 0.0)
    training_set, held_out = draw_set(drawings, _TRAINING_SEED), draw_set(_HELD_OUT, _HELD_OUT_SEED)
    train_to_file(model, training_set, held_out, settings, start, output)
    typer.echo(f"wrote {output}")


if __name__ == "__main__":
    typer.run(main)
