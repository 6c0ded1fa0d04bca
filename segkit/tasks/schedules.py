"""Learning-rate schedules as pure functions of the epoch."""

import math

from segkit.tasks.settings import ScheduleSettings


def learning_rate_factor(schedule: ScheduleSettings, epoch: float, num_epochs: float) -> float:
    """The factor on the learning rate after `epoch` epochs (fractional) of `num_epochs`."""
    if epoch < schedule.warmup_epochs:
        return epoch / schedule.warmup_epochs
    if schedule.name == "step":
        return schedule.step_factor ** sum(epoch >= milestone for milestone in schedule.step_epochs)
    if schedule.name == "cosine":
        progress = (epoch - schedule.warmup_epochs) / max(num_epochs - schedule.warmup_epochs, 1e-9)
        return _fall(min(progress, 1.0), schedule.final_factor)
    if schedule.name == "cyclic-cosine":
        return _fall(
            (epoch - schedule.warmup_epochs) % schedule.cycle_epochs / schedule.cycle_epochs, schedule.final_factor
        )
    return 1.0


def _fall(progress: float, final: float) -> float:
    """Half a cosine from 1 to `final` (Loshchilov 2017, SGDR, Eq. 5)."""
    return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2
