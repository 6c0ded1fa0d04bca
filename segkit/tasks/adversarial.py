"""Train a segmentation network against a discriminator, which receives the image and the probabilities."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from segkit.core.classes import VESSEL, Classes
from segkit.data.batch import Batch
from segkit.models import channels_last
from segkit.models.heads import probabilities
from segkit.models.sagan import Discriminator
from segkit.tasks.segmentation import SegmentationTask
from segkit.tasks.settings import PhaseSettings, TrainSettings

AdversarialLoss = Literal["hinge", "bce"]


class AdversarialSegmentationTask(SegmentationTask):
    """One training phase of a network and its discriminator, which take a step at the same time.

    The discriminator receives probabilities and not the most probable class, whose gradient is 0. One optimiser holds
    both networks, each with its own learning rate, and one backward pass computes both gradients: the gradient of the
    network's loss does not reach the discriminator, nor that of the discriminator's loss the network.
    """

    def __init__(self, settings: TrainSettings, phase: PhaseSettings, seed: int = 0, classes: Classes = VESSEL) -> None:
        super().__init__(settings, phase, seed, classes)
        assert settings.adversarial is not None
        self.adversarial = settings.adversarial
        self.discriminator = channels_last(
            Discriminator(self.adversarial, settings.model.image_channels, classes.num_channels)
        )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        logits, segmentation = self.segmentation_loss(batch)
        counted = counted_pixels(batch)
        fake, real = probabilities(logits) * counted, batch["target"] * counted
        images = torch.cat([batch["image"], batch["image"]])
        real_logits, fake_logits = self.discriminator(images, torch.cat([real, fake.detach()])).chunk(2)
        discriminator = discriminator_loss(real_logits, fake_logits, self.adversarial.loss)
        self.discriminator.requires_grad_(False)
        generator = generator_loss(self.discriminator(batch["image"], fake), self.adversarial.loss)
        self.discriminator.requires_grad_(True)
        generator, discriminator = ((loss * batch["weight"]).mean() for loss in (generator, discriminator))
        self.log_dict(
            {"train/adversarial": generator, "train/discriminator": discriminator},
            on_step=False,
            on_epoch=True,
            sync_dist=True,
            batch_size=len(logits),
        )
        return segmentation + self.adversarial.weight * generator + discriminator

    def parameter_groups(self) -> list[dict[str, object]]:
        own = {"lr": self.adversarial.learning_rate, "betas": self.adversarial.betas, "weight_decay": 0.0}
        return [*super().parameter_groups(), {"params": list(self.discriminator.parameters()), **own}]


def counted_pixels(batch: Batch) -> Float[Tensor, "n 1 h w"]:
    """1 inside the region where the target is known, else 0: elsewhere real and fake differ without being wrong."""
    counted = batch["region"]
    if batch["target"].shape[1] > 1:
        counted = counted & (batch["target"].sum(1, keepdim=True) > 0)
    return counted.to(batch["target"].dtype)


def discriminator_loss(
    real_logits: Float[Tensor, " n"], fake_logits: Float[Tensor, " n"], kind: AdversarialLoss
) -> Float[Tensor, " n"]:
    """Loss of the discriminator per image: hinge (Zhang 2019, Eq. 4), or binary cross-entropy (Goodfellow 2014)."""
    real_logits, fake_logits = real_logits.float(), fake_logits.float()
    if kind == "hinge":
        return F.relu(1 - real_logits) + F.relu(1 + fake_logits)
    return F.softplus(-real_logits) + F.softplus(fake_logits)


def generator_loss(fake_logits: Float[Tensor, " n"], kind: AdversarialLoss) -> Float[Tensor, " n"]:
    """Adversarial loss of the network per image: -D (Zhang 2019, Eq. 4), or -log sigmoid(D) (Goodfellow 2014)."""
    return -fake_logits.float() if kind == "hinge" else F.softplus(-fake_logits.float())
