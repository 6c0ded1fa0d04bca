"""Training of StyleGAN2-ADA as a LightningModule."""

import copy
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import lightning as L
import torch
from jaxtyping import Float, Int, UInt8
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from gan.augment import AugmentPipe, Draws
from gan.checkpoints import weights
from gan.networks.compiling import check_compiler, compile_when_called
from gan.networks.discriminator import Discriminator
from gan.networks.generator import Generator
from gan.networks.layers import FAST_LAYERS
from gan.networks.noise import noise_of_images
from gan.settings import GanSettings, phase_intervals
from gan.training.ada import ada_step, next_ada_p
from gan.training.batch_split import device_count_error, num_passes, path_length_batch
from gan.training.distributed import all_reduce_mean_, rank, world_size
from gan.training.draws import BatchDraws
from gan.training.ema import ema_decay, update_ema
from gan.training.losses import (
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    lazy_adam,
    path_length_penalty,
    path_lengths,
)
from gan.training.memory import keep_freed_memory
from segkit.core.errors import RequestError
from segkit.core.versions import TASK_FORMAT_KEY

# Each phase of an iteration has its own stream of random numbers.
_STREAMS = {"Gmain": 0, "Greg": 1, "Dmain": 2, "Dreg": 3}


class Phase(NamedTuple):
    """A part of an iteration; one network takes an optimiser step after it."""

    name: str
    """Gmain, Greg, Dmain or Dreg, as in the paper's code."""
    interval: int
    """Iterations from one run to the next."""
    network: nn.Module
    """The network that is trained."""
    gradients: Callable[[Tensor, BatchDraws], dict[str, Tensor]]
    """Adds gradients, given this rank's photographs (n, c, r, r) and random numbers; returns values to log."""


class StyleGAN2Task(L.LightningModule):
    """One `training_step` is one iteration: Gmain, Greg (lazy), Dmain, Dreg (lazy), EMA, ADA.

    The Trainer needs `max_steps=gan.settings.max_steps(settings)`, `max_epochs=-1`, precision "32-true" (the settings
    choose low precision) and `gan.training.data.GanImages` as its data. `global_step` counts iterations, since only the
    step of Dmain goes through Lightning; a checkpoint every n train steps is one every n iterations. The task averages
    gradients over ranks itself, with strategy "auto" or "ddp".

    A resumed run repeats an uninterrupted one bit for bit: random numbers are functions of seed and iteration, and the
    checkpoint holds weights, averages, optimisers, ADA's chance and statistics, the path-length mean and the clock.
    """

    layers = FAST_LAYERS
    """Layer classes of the networks."""
    checkpoint_format = 3
    """Raise it when resuming a checkpoint would change the training. In 1, upsampling layers correlated; in 2, each
    rank and pass drew its own layer noise."""

    pl_mean: Tensor
    sign_sum: Tensor

    def __init__(self, settings: GanSettings, seed: int = 0) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.settings, self.seed = settings, seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.generator = Generator(settings, self.layers)
            self.discriminator = Discriminator(settings, self.layers)
        self.generator_ema = copy.deepcopy(self.generator).requires_grad_(False)
        if settings.torch_compile:
            compile_when_called(self.generator.synthesis, self.discriminator)
        self.augment_pipe = AugmentPipe(settings.augment_transforms, settings.augment_p)
        self.register_buffer("pl_mean", torch.zeros([]))
        self.register_buffer("sign_sum", torch.zeros([]))  # of D(real) over the iterations since ADA's last adjustment
        self.num_images_seen = 0
        """Real images shown to the discriminator: the GAN's clock and the position in the data."""
        self.latest: dict[str, Tensor] = {}
        """Last value of each logged quantity; the lazy ones are not computed in every iteration."""

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The three networks by the names of their files."""
        return {
            weights.GENERATOR: self.generator,
            weights.DISCRIMINATOR: self.discriminator,
            weights.GENERATOR_EMA: self.generator_ema,
        }

    def setup(self, stage: str) -> None:
        if stage != "fit":
            return
        # ModelCheckpoint warns that weights are saved after the step; resuming needs these
        warnings.filterwarnings("ignore", message="Using ModelCheckpoint with manual optimization")
        problem = device_count_error(self.settings, world_size())
        if problem:
            raise RequestError(f"gan: {problem}")

    def on_fit_start(self) -> None:
        if self.device.type == "cpu":
            keep_freed_memory()
        if self.settings.torch_compile:
            check_compiler(self.device)
            if rank() == 0:
                print("compiling G and D at their first call, which takes minutes", flush=True)
        # a resumed run has restored its checkpoint by now and does not need the initial weights
        if self.settings.init_from is not None and self.num_images_seen == 0:
            weights.load_all(self.settings.init_from, self.settings, self.networks)

    def _passes(self, num_images: int) -> list[slice]:
        """The images of each pass, as slices of this rank's share of a batch."""
        count = num_passes(self.settings, num_images // world_size())
        return [slice(first, None, count) for first in range(count)]

    def configure_optimizers(self) -> list[Adam]:
        s = self.settings
        g_interval = s.pl_interval if s.pl_weight > 0 else None
        d_interval = s.r1_interval if s.r1_gamma > 0 else None
        return [
            lazy_adam(self.generator.parameters(), s.learning_rate, g_interval),
            lazy_adam(self.discriminator.parameters(), s.learning_rate, d_interval),
        ]

    # one iteration ------------------------------------------------------------------------------------------------

    def training_step(self, batch: UInt8[Tensor, "n c r r"], batch_idx: int) -> None:
        s = self.settings
        iteration = self.num_images_seen // s.batch_size
        real_pm1 = (batch.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        adam_g, adam_d = cast(list[LightningOptimizer], self.optimizers())
        # the networks choose their own precision, whatever the Trainer's is
        optimizers: dict[str, Optimizer | LightningOptimizer] = {
            "Gmain": adam_g.optimizer,
            "Greg": adam_g.optimizer,
            "Dmain": adam_d,  # wrapped by Lightning, which counts its steps
            "Dreg": adam_d.optimizer,
        }
        stats: dict[str, Tensor] = {}
        with torch.autocast(self.device.type, enabled=False):
            for phase in self.phases:
                if iteration % phase.interval == 0:
                    stats |= self.run_phase(phase, iteration, real_pm1, optimizers[phase.name])
        self._train_only(self.generator, self.discriminator)
        update_ema(
            self.generator_ema,
            self.generator,
            ema_decay(s.batch_size, s.ema_kimg, self.num_images_seen, s.ema_rampup),
        )
        self.num_images_seen += s.batch_size
        all_reduce_mean_(list(stats.values()))
        self._adjust_augmentation(iteration, stats.pop("sign_real"))
        self.latest |= stats
        self._log_progress()

    @property
    def phases(self) -> list[Phase]:
        """The phases of an iteration, in order."""
        parts = {
            "Gmain": (self.generator, self._generator_main),
            "Greg": (self.generator, self._generator_regularisation),
            "Dmain": (self.discriminator, self._discriminator_main),
            "Dreg": (self.discriminator, self._discriminator_regularisation),
        }
        return [Phase(name, interval, *parts[name]) for name, interval in phase_intervals(self.settings).items()]

    def run_phase(
        self, phase: Phase, iteration: int, real_pm1: Tensor, optimizer: Optimizer | LightningOptimizer
    ) -> dict[str, Tensor]:
        """Compute a phase's gradients and take its optimiser step; returns values to log."""
        self._train_only(phase.network)
        draws = BatchDraws(
            self.seed, iteration, _STREAMS[phase.name], rank=rank(), world=world_size(), device=self.device
        )
        stats = phase.gradients(real_pm1, draws)
        self._update(phase.network, optimizer)
        return stats

    def _generator_main(self, real_pm1: Tensor, draws: BatchDraws) -> dict[str, Tensor]:
        """Train G so that D classifies generated images as real."""
        count = self.settings.batch_size
        z, z_mixed, cutoff = self._latents(draws, count)
        augmentation = draws.augment(count)
        noise_seeds = draws.seeds(count)
        passes = self._passes(count)
        total, w_mean = self._zero(), torch.zeros_like(self.generator.mapping.w_avg)
        for part in passes:
            w, ws = self._styles(z[part], z_mixed[part], cutoff)
            logits = self._logits(self._synthesise(ws, noise_seeds[part]), augmentation.share(part))
            loss = generator_loss(logits) / len(passes)
            loss.backward()
            total += loss.detach()
            w_mean += w.detach().mean(dim=0) / len(passes)
        all_reduce_mean_([w_mean])
        self.generator.mapping.update_w_avg(w_mean)
        return {"gan/loss_g": total}

    @torch.compiler.set_stance("force_eager")
    def _generator_regularisation(self, real_pm1: Tensor, draws: BatchDraws) -> dict[str, Tensor]:
        """Path-length regularisation of G (Karras 2020a, section 3.2).

        The target is the running mean before this step, so it does not depend on the split of the batch.
        """
        s, count = self.settings, path_length_batch(self.settings)
        z, z_mixed, cutoff = self._latents(draws, count)
        noise = draws.normal(count, s.image_channels, s.resolution, s.resolution)
        noise_seeds = draws.seeds(count)
        passes = self._passes(count)
        mean_length = self._zero()
        for part in passes:
            _, ws = self._styles(z[part], z_mixed[part], cutoff)
            lengths = path_lengths(self._synthesise(ws, noise_seeds[part]), ws, noise[part])
            loss = path_length_penalty(lengths, self.pl_mean) * (s.pl_weight * s.pl_interval / len(passes))
            loss.backward()
            mean_length += lengths.detach().mean() / len(passes)
        all_reduce_mean_([mean_length])
        # an overflow in low precision must not make the running mean infinite
        self.pl_mean.lerp_(torch.where(mean_length.isfinite(), mean_length, self.pl_mean), 0.01)
        return {"gan/path_length": mean_length}

    def _discriminator_main(self, real_pm1: Tensor, draws: BatchDraws) -> dict[str, Tensor]:
        """Train D to separate photographs from generated images."""
        count = self.settings.batch_size
        z, z_mixed, cutoff = self._latents(draws, count)
        augment_fake, augment_real = draws.augment(count), draws.augment(count)
        noise_seeds = draws.seeds(count)
        passes = self._passes(count)
        total, sign = self._zero(), self._zero()
        for part in passes:
            with torch.no_grad():
                _, ws = self._styles(z[part], z_mixed[part], cutoff)
                fake_pm1 = self._synthesise(ws, noise_seeds[part])
            fake_logits = self._logits(fake_pm1, augment_fake.share(part))
            real_logits = self._logits(real_pm1[part], augment_real.share(part))
            loss = discriminator_loss(real_logits, fake_logits) / len(passes)
            loss.backward()
            total += loss.detach()
            sign += real_logits.detach().sign().mean() / len(passes)
        return {"gan/loss_d": total, "sign_real": sign}

    @torch.compiler.set_stance("force_eager")
    def _discriminator_regularisation(self, real_pm1: Tensor, draws: BatchDraws) -> dict[str, Tensor]:
        """R1 regularisation: penalise the gradient of D at photographs."""
        s = self.settings
        augmentation = draws.augment(s.batch_size)
        passes = self._passes(s.batch_size)
        parameters = list(self.discriminator.parameters())
        total = self._zero()
        for part in passes:
            images = real_pm1[part].requires_grad_()
            penalty = gradient_penalty(self._logits(images, augmentation.share(part)), images).mean() / len(passes)
            # given the parameters, autograd skips the gradient by the images
            (penalty * (s.r1_gamma / 2 * s.r1_interval)).backward(inputs=parameters)
            total += penalty.detach()
        return {"gan/r1": total}

    # helpers ------------------------------------------------------------------------------------------------------

    def _latents(self, draws: BatchDraws, num_images: int) -> tuple[Tensor, Tensor, int]:
        s = self.settings
        first, second = draws.normal(num_images, s.z_dim), draws.normal(num_images, s.z_dim)
        return first, second, draws.mixing_cutoff(self.generator.num_ws, s.style_mixing_prob)

    def _styles(self, z: Tensor, z_mixed: Tensor, cutoff: int) -> tuple[Tensor, Tensor]:
        """w of the first latents, and w of each layer: from layer `cutoff` on of the second latents."""
        mapping = self.generator.mapping
        w = mapping.map(z)
        ws = mapping.broadcast(w)
        if cutoff < self.generator.num_ws:
            ws = torch.cat([ws[:, :cutoff], mapping.broadcast(mapping.map(z_mixed))[:, cutoff:]], dim=1)
        return w, ws

    def _synthesise(self, ws: Tensor, noise_seeds: Int[Tensor, " n"]) -> Float[Tensor, "n c r r"]:
        synthesis = self.generator.synthesis
        ws = ws.contiguous()  # the same layout with and without style mixing, so the compiler compiles once
        random = self.settings.train_noise == "random"
        noise = noise_of_images(synthesis, noise_seeds, ws.device) if random else "const"
        image_pm1: Tensor = synthesis(ws, noise)
        return image_pm1

    def _logits(self, images_pm1: Tensor, augmentation: Draws) -> Float[Tensor, "n 1"]:
        if self.settings.augment != "none":
            images_pm1 = self.augment_pipe(images_pm1, augmentation)
        logits: Tensor = self.discriminator(images_pm1)
        return logits

    def _zero(self) -> Tensor:
        return torch.zeros([], device=self.device)

    def _train_only(self, *networks: nn.Module) -> None:
        """Enable gradients of the given networks, of G and D, and disable the others'."""
        for network in (self.generator, self.discriminator):
            network.requires_grad_(network in networks)

    def _update(self, network: nn.Module, optimizer: Optimizer | LightningOptimizer) -> None:
        """Average the gradients over ranks, replace values that are not finite, and take an optimiser step."""
        gradients = [_gradient(parameter) for parameter in network.parameters() if parameter.grad is not None]
        all_reduce_mean_(gradients)
        for gradient in gradients:
            torch.nan_to_num(gradient, nan=0.0, posinf=1e5, neginf=-1e5, out=gradient)
        optimizer.step()
        network.zero_grad(set_to_none=True)

    def _adjust_augmentation(self, iteration: int, sign_real: Tensor) -> None:
        s = self.settings
        self.sign_sum += sign_real
        if (iteration + 1) % s.ada_interval:
            return
        overfitting = self.sign_sum / s.ada_interval
        self.sign_sum.zero_()
        self.latest["gan/overfitting"] = overfitting
        if s.augment == "ada":
            step = ada_step(s.batch_size, s.ada_interval, s.ada_ramp_kimg)
            self.augment_pipe.set_p(next_ada_p(self.augment_pipe.chance, overfitting.item(), s.ada_target, step))

    def _log_progress(self) -> None:
        # lazy quantities are logged with their last value, so every row is complete
        self.log_dict(self.latest)
        chance = self.augment_pipe.chance if self.settings.augment != "none" else 0.0
        self.log("gan/ada_p", torch.tensor(chance))
        self.log("gan/kimg", torch.tensor(self.num_images_seen / 1000))

    # checkpoints --------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None:
        latest = {key: float(value) for key, value in self.latest.items()}
        checkpoint[TASK_FORMAT_KEY] = self.checkpoint_format
        checkpoint["gan"] = {"num_images_seen": self.num_images_seen, "latest": latest}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["gan"]
        self.num_images_seen = state["num_images_seen"]
        self.latest = {key: torch.tensor(value, device=self.device) for key, value in state["latest"].items()}


def _gradient(parameter: nn.Parameter) -> Tensor:
    """A parameter's gradient, with the parameter's strides.

    With other strides fused Adam raises an error on GPUs and reads wrong elements on CPUs. Autograd sets them, except
    along dimensions of length 1, as in 1x1 convolutions.
    """
    assert parameter.grad is not None
    if parameter.grad.stride() != parameter.stride():
        parameter.grad = torch.empty_like(parameter).copy_(parameter.grad)
    return parameter.grad
