"""Train and validate a segmentation network."""

from collections.abc import Callable
from functools import partial
from typing import Any

import lightning as L
import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from segkit.core.classes import VESSEL, Classes
from segkit.core.seeding import derive_seed
from segkit.data.batch import Batch
from segkit.data.datamodule import SegmentationDataModule
from segkit.metrics.epoch import SegmentationMetrics
from segkit.models import channels_last
from segkit.models.heads import as_outputs
from segkit.models.losses import build_loss
from segkit.tasks.fine_tuning import freeze, parameter_groups
from segkit.tasks.inference import probabilities
from segkit.tasks.network import build_network, fit_normalization
from segkit.tasks.schedules import learning_rate_factor
from segkit.tasks.settings import InferenceSettings, PhaseSettings, TrainSettings


class SegmentationTask(L.LightningModule):
    """One training phase of one network."""

    def __init__(self, settings: TrainSettings, phase: PhaseSettings, seed: int = 0, classes: Classes = VESSEL) -> None:
        super().__init__()
        self.settings = settings
        self.phase = phase
        self.seed = seed
        self.model = channels_last(build_network(settings.model, settings.preprocessing, classes.num_channels))
        self._frozen = freeze(self.model, phase.frozen)
        self.train()
        self.averaged = (
            AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(phase.ema_decay), use_buffers=False)
            if phase.ema_decay
            else None
        )
        if self.averaged is not None:
            self.averaged.requires_grad_(False)
        self.loss = build_loss(settings.loss)
        self.val_metrics = SegmentationMetrics(classes)

    @property
    def best_model(self) -> torch.nn.Module:
        """The network that is validated and saved: the averaged one if there is one."""
        return self.averaged.module if self.averaged is not None else self.model

    def train(self, mode: bool = True) -> "SegmentationTask":
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def setup(self, stage: str) -> None:
        data = self.trainer.datamodule  # type: ignore[attr-defined]  # set where the Trainer is given one
        if stage == "fit" and isinstance(data, SegmentationDataModule):
            # the same in every phase, whatever its images: the weights of the phase before belong to it
            networks = [self.model] if self.averaged is None else [self.model, self.averaged.module]
            fit_normalization(networks, self.settings.preprocessing, data.images_to_fit)

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Load all weights of a network."""
        self.model.load_state_dict(weights)
        if self.averaged is not None:
            self.averaged.module.load_state_dict(weights)

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Image in [0, 1] to logits, by `best_model`."""
        return as_outputs(self.best_model(image.contiguous(memory_format=torch.channels_last))).logits

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # DropBlock uses torch's generator, seeded alike on all ranks: its masks are a function of seed, step and the
        # image's position in the global batch, so a resumed run and other numbers of devices get the same masks.
        torch.manual_seed(derive_seed(self.seed, "step", self.global_step))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        _, loss = self.segmentation_loss(batch)
        return loss

    def segmentation_loss(self, batch: Batch) -> tuple[Float[Tensor, "n k h w"], Float[Tensor, ""]]:
        """Logits of the main output, and the mean loss of all outputs, which is logged."""
        result = as_outputs(self.model(batch["image"].contiguous(memory_format=torch.channels_last)))
        weights = self.settings.model.output_weights(len(result.auxiliary))
        all_logits = (result.logits, *result.auxiliary)
        first, *others = (
            weight * self.loss(logits, batch["target"], batch["pixel_weight"])
            for weight, logits in zip(weights, all_logits, strict=True)
        )
        per_image = sum(others, start=first)
        loss = (per_image * batch["weight"]).mean()
        num = len(per_image)
        self.log("train/loss", loss, on_step=False, on_epoch=True, sync_dist=True, batch_size=num)
        return result.logits, loss

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_idx: int) -> None:
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)  # copies buffers such as batch norm means

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        patch_size = self.settings.preprocessing.patch_size
        probs = probabilities(self, batch["image"], InferenceSettings(), patch_size)
        self.val_metrics.update(probs, batch["target"], batch["region"])

    def on_validation_epoch_end(self) -> None:
        values = self.val_metrics.compute()
        self.log_dict({f"val/{name}": torch.as_tensor(float(value)) for name, value in values.items()})
        self.val_metrics.reset()

    def parameter_groups(self) -> list[dict[str, object]]:
        """What the optimiser trains, as groups of torch; options that a group does not set are the phase's."""
        optimizer = self.phase.optimizer
        return parameter_groups(self.model, optimizer.learning_rate_factors, optimizer.learning_rate)

    def configure_optimizers(self) -> Any:
        chosen = self.phase.optimizer
        kinds: dict[str, Callable[..., torch.optim.Optimizer]] = {
            "adam": torch.optim.Adam,
            "adamw": torch.optim.AdamW,
            "sgd": partial(torch.optim.SGD, momentum=chosen.momentum),
        }
        optimizer = kinds[chosen.name](
            self.parameter_groups(), lr=chosen.learning_rate, weight_decay=chosen.weight_decay
        )
        steps_per_epoch = int(self.trainer.estimated_stepping_batches) / self.phase.epochs

        def factor(step: int) -> float:
            return learning_rate_factor(self.phase.schedule, step / steps_per_epoch, self.phase.epochs)

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
