import math
import os
import socket

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from sklearn import metrics as sk

from segkit.core.errors import SegkitError
from segkit.metrics.epoch import SegmentationMetrics
from segkit.metrics.measure import measure
from segkit.metrics.score import ScoredImage, score_images
from tests.reference.metrics_pixels import rates, retina


def batch(seed: int, num_images: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Probabilities, vessels and fov as a network's validation batch holds them, (n, 1, h, w)."""
    levels, vessels, fov = (torch.from_numpy(array)[:, None] for array in retina(seed, num_images))
    return levels.float() / 65535, vessels.float(), fov


def test_epoch_numbers_equal_plain_numpy_inside_the_fov():
    probs, vessels, fov = batch(40)
    metrics = SegmentationMetrics()
    metrics.update(probs, vessels, fov)
    found = {name: float(value) for name, value in metrics.compute().items()}
    inside, truth = probs[fov].double().numpy(), vessels[fov].numpy() > 0.5
    expected = rates(inside, truth, np.ones_like(truth), 0.5)
    expected |= {"auroc": sk.roc_auc_score(truth, inside), "auprc": sk.average_precision_score(truth, inside)}
    assert set(found) == {*expected, "log_loss", "ece", "best_dice_threshold"}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9), name
    at_best = SegmentationMetrics(threshold=found["best_dice_threshold"])
    at_best.update(probs, vessels, fov)
    assert at_best.compute()["dice"] > found["dice"]


def test_an_epoch_scores_like_the_files_written_from_it():
    probs, vessels, fov = batch(41)
    metrics = SegmentationMetrics()
    metrics.update(probs, vessels, fov)
    levels = (probs * 65535).round().numpy().astype(np.uint16)
    arrays = zip(levels[:, 0], vessels[:, 0].numpy() > 0.5, fov[:, 0].numpy(), strict=True)
    files = [ScoredImage(str(k), *image) for k, image in enumerate(arrays)]
    epoch = metrics.compute()
    for m in measure(score_images(files), 0.5, "fixed-0.5", regions=["fov"], averagings=["pooled"], num_resamples=2):
        if m.metric != "cldice":
            assert float(epoch[m.metric]) == pytest.approx(m.value, rel=1e-12), m.metric


def test_the_order_and_size_of_batches_change_no_digit():
    probs, vessels, fov = batch(42)
    whole, parts = SegmentationMetrics(), SegmentationMetrics()
    whole.update(probs, vessels, fov)
    for chosen in ([4, 0], [2], [1, 3]):
        parts.update(probs[chosen], vessels[chosen], fov[chosen])
    assert parts.compute() == whole.compute()


def test_pixels_outside_the_fov_do_not_count():
    probs, vessels, fov = batch(43)
    clean, dirty = SegmentationMetrics(), SegmentationMetrics()
    clean.update(probs, vessels, fov)
    dirty.update(torch.where(fov, probs, torch.nan), torch.where(fov, vessels, 1 - vessels), fov)
    assert clean.compute() == dirty.compute()


def test_float32_just_below_one_half_is_background():
    below, half = np.nextafter(np.float32(0.5), np.float32(0)), np.float32(0.5)
    probs = torch.tensor([[[[below, half]]]])
    metrics = SegmentationMetrics()
    metrics.update(probs, torch.tensor([[[[0.0, 1.0]]]]), torch.ones(1, 1, 1, 2, dtype=torch.bool))
    assert metrics.compute()["accuracy"] == 1


@pytest.mark.parametrize("wrong", [math.nan, 1.5, -3.0])
def test_logits_and_nan_are_refused(wrong):
    probs, vessels, fov = batch(44)
    probs[0, 0, 12, 15] = wrong
    with pytest.raises(SegkitError, match=r"not in \[0, 1\]"):
        SegmentationMetrics().update(probs, vessels, fov)


def test_reset_forgets():
    metrics = SegmentationMetrics()
    metrics.update(*batch(45))
    first = metrics.compute()
    metrics.reset()
    metrics.update(*batch(46))
    second = metrics.compute()
    metrics.reset()
    metrics.update(*batch(45))
    assert metrics.compute() == first != second


def test_an_epoch_without_vessels_ends_in_nan_not_in_an_error():
    probs, vessels, fov = batch(47)
    metrics = SegmentationMetrics()
    metrics.update(probs, torch.zeros_like(vessels), fov)
    found = metrics.compute()
    assert all(found[name].isnan() for name in ("sensitivity", "auroc", "auprc", "best_dice_threshold"))
    assert found["specificity"] > 0


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _score_on_rank(rank: int, port: int, out: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), OMP_NUM_THREADS="1")
    dist.init_process_group("gloo", rank=rank, world_size=2)
    probs, vessels, fov = batch(48)
    mine = [[0, 1, 2, 3], [4]][rank]  # an uneven share
    metrics = SegmentationMetrics()
    metrics.update(probs[mine], vessels[mine], fov[mine])
    torch.save(metrics.compute(), f"{out}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_equal_one_exactly(tmp_path):
    mp.spawn(_score_on_rank, args=(_free_port(), str(tmp_path)), nprocs=2)
    alone = SegmentationMetrics()
    alone.update(*batch(48))
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}.pt") == alone.compute()
