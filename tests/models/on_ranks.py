"""Run a function on several CPU processes that form a gloo group."""

import os
import socket

import torch
from torch import distributed, multiprocessing


def run_on_ranks(function, world_size, folder):
    """What `function(rank)` returns on each rank; it must be importable."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(_run, args=(function, world_size, port, folder), nprocs=world_size)
    return [torch.load(folder / f"{rank}.pt") for rank in range(world_size)]


def _run(rank, function, world_size, port, folder):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", rank=rank, world_size=world_size)
    torch.save(function(rank), folder / f"{rank}.pt")
    distributed.destroy_process_group()
