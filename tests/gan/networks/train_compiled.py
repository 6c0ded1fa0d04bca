"""Train a tiny GAN with and without `torch_compile` and print what differs; a command of its own.

    python -m tests.gan.networks.train_compiled CASES

CASES is a JSON list of changes of the settings; the answer is a list of as many objects. The compiler does everything
but write kernels, which would take minutes. It cannot follow the checks of shapes that pytest puts around functions.
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch._dynamo as dynamo

from gan.bench.worker import Configuration, Phases, Worker
from gan.settings import GanSettings
from gan.training.task import StyleGAN2Task
from tests.gan.train_together import differing, fit, images, keep, tiny


def trained(settings: GanSettings) -> dict[str, torch.Tensor]:
    """State after two iterations in which every phase takes place."""
    task = StyleGAN2Task(settings, seed=1)
    phases = Phases(task, images(settings, settings.batch_size))
    for iteration in range(2):
        for phase in ("Gmain", "Greg", "Dmain", "Dreg", "EMA"):
            phases.run(phase, iteration)
    return task.state_dict()


def compare(settings: GanSettings) -> dict[str, object]:
    """How far compiling changes what is learnt, and what the compiler did for it."""
    expected = trained(settings)
    dynamo.reset()
    dynamo.utils.counters.clear()
    found = trained(settings.model_copy(update={"torch_compile": True}))
    assert found.keys() == expected.keys()
    return {
        "difference": max((found[name] - value).abs().max().item() for name, value in expected.items()),
        "graphs": dynamo.utils.counters["stats"]["unique_graphs"],
        "breaks": list(dynamo.utils.counters["graph_break"]),
    }


def graphs_of_a_bench(settings: GanSettings) -> list[int]:
    """How many graphs there are after warming up, and after the main phases have been timed."""
    dynamo.reset()
    dynamo.utils.counters.clear()
    worker = Worker(Configuration(settings.model_copy(update={"torch_compile": True}), False, False, 1))
    counts = worker.warm_up(0)
    assert set(counts.values()) == {0}
    graphs = [dynamo.utils.counters["stats"]["unique_graphs"]]
    for phase in ("Gmain", "Dmain"):
        worker.seconds(phase, 1)
    return [*graphs, dynamo.utils.counters["stats"]["unique_graphs"]]


def what_a_resumed_training_learns_otherwise(folder: Path) -> list[str]:
    """Names of the tensors that differ at the end, after as many iterations as in one go; there should be none."""
    settings = tiny(torch_compile=True, kimg=0.016, resolution=8)
    whole, _ = fit(settings, folder, [keep(folder)])
    dynamo.reset()
    resumed, trainer = fit(settings, folder, ckpt_path=folder / "step=2.ckpt")
    assert trainer.global_step == 4
    return differing(whole.state_dict(), resumed.state_dict())


if __name__ == "__main__":
    torch.compiler.set_stance("default", force_backend="aot_eager")
    plain = {"augment": "none", "resolution": 8}
    cases = [compare(tiny(**plain | changes)) for changes in json.loads(sys.argv[1])]
    torch.compiler.set_stance("default", force_backend="eager")  # what follows is about graphs, not about their code
    bench = graphs_of_a_bench(tiny(**plain))
    with TemporaryDirectory() as folder:
        resumed = what_a_resumed_training_learns_otherwise(Path(folder))
    print(json.dumps({"cases": cases, "bench": bench, "resumed": resumed}))
