"""Two processes, of which the first fails and the second waits; started by `test_trainer`.

python -m tests.tasks.fail_alone FOLDER
"""

import os
import sys
import time
from pathlib import Path

import lightning as L
import torch

from segkit.cli import _failed
from segkit.core.errors import SegkitError
from segkit.tasks.settings import RuntimeSettings
from segkit.tasks.trainer import build_trainer


class FailsAlone(L.LightningModule):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.weight = folder, torch.nn.Parameter(torch.ones(1))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, batch, batch_idx):
        note = self.folder / "second"
        if self.global_rank:
            note.with_suffix(".tmp").write_text(str(os.getpid()))
            note.with_suffix(".tmp").rename(note)
            time.sleep(600)
        while not note.exists():
            time.sleep(0.05)
        raise SegkitError("the disk is full")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    runtime = RuntimeSettings(accelerator="cpu", devices=2, precision="32-true")
    try:
        build_trainer(runtime, folder, "test", max_steps=1).fit(FailsAlone(folder), [torch.ones(1)])
    except SegkitError as error:
        sys.exit(_failed(error))
