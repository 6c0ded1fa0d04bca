import csv
import io
import itertools
import math
from types import SimpleNamespace
from unittest.mock import Mock

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from segkit.core import progress as core_progress
from segkit.tasks import callbacks
from segkit.tasks.callbacks import (
    AtomicCheckpointIO,
    BestWeights,
    Curves,
    ProgressReports,
    last_checkpoint,
)
from tests.tasks.small import Kept, PlainDescent, fit, settings


def stand_in(**fields):
    """Something that passes for a Trainer and has these fields."""
    trainer = Mock(spec=L.Trainer)
    for name, value in fields.items():
        setattr(trainer, name, value)
    return trainer


def trainer_at(epoch, score=0.0, **fields):
    """A trainer that has just validated `epoch`."""
    values = {
        "current_epoch": epoch,
        "max_epochs": 100,
        "sanity_checking": False,
        "should_stop": False,
        "check_val_every_n_epoch": 3,
        "callback_metrics": {"val/dice": torch.tensor(score)},
    }
    return stand_in(**(values | fields))


def task_with(value):
    network = nn.Linear(1, 1)
    nn.init.constant_(network.weight, value)
    return SimpleNamespace(best_model=network)


def best_of(scores, **arguments):
    best = BestWeights("val/dice", **arguments)
    for epoch, score in enumerate(scores):
        best.on_validation_end(trainer_at(epoch, score), task_with(float(epoch)))
    return best


@pytest.mark.parametrize(
    ("scores", "epoch"),
    [
        ([0.1, 0.5, 0.3], 1),
        ([0.5, 0.5, 0.5], 0),
        ([0.0, 0.0, 0.2], 2),
        ([-0.1, -0.3], 0),
        ([math.nan, 0.2, 0.1], 1),
        ([0.2, math.nan, 0.3], 2),
        ([0.2, 0.4, math.nan], 1),
        ([math.nan, math.nan], 0),
        ([math.nan, -0.4], 1),
    ],
)
def test_the_weights_of_the_best_epoch_are_kept(scores, epoch):
    best = best_of(scores)
    assert best.epoch == epoch
    assert best.weights["weight"].item() == epoch
    assert best.score == pytest.approx(-math.inf if math.isnan(scores[epoch]) else scores[epoch])


def test_the_last_weights_are_kept_where_the_settings_say_so():
    last = BestWeights("val/dice", keep="last")
    for epoch, score in enumerate([0.9, math.nan, 0.2]):
        trainer, task = trainer_at(epoch, score), task_with(float(epoch))
        trainer.max_epochs = 3
        last.on_validation_end(trainer, task)
        last.on_train_epoch_end(trainer, task)
    assert last.weights["weight"].item() == 2
    assert last.epoch == 2


def test_kept_weights_do_not_change_with_the_network():
    best, task = BestWeights("val/dice"), task_with(1.0)
    best.on_validation_end(trainer_at(0, 0.5), task)
    nn.init.constant_(task.best_model.weight, 9.0)
    assert best.weights["weight"].item() == 1
    assert not best.weights["weight"].requires_grad


def test_a_sanity_check_is_no_validation():
    best = BestWeights("val/dice")
    best.on_validation_end(trainer_at(0, 0.9, sanity_checking=True), task_with(1.0))
    assert best.epoch == -1
    assert best.weights == {}


def test_best_weights_survive_a_checkpoint(tmp_path):
    torch.save(best_of([0.1, 0.7, 0.2]).state_dict(), tmp_path / "state.pt")
    resumed = BestWeights("val/dice")
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    resumed.on_validation_end(trainer_at(3, 0.6), task_with(3.0))
    assert (resumed.epoch, resumed.score) == (1, pytest.approx(0.7))
    assert resumed.weights["weight"].item() == 1


def test_training_ends_when_patience_runs_out():
    best = BestWeights("val/dice", patience_epochs=2)
    stopped = []
    for epoch, score in enumerate([0.1, 0.5, 0.3, 0.2, 0.9]):
        trainer = trainer_at(epoch, score)
        best.on_validation_end(trainer, task_with(0.0))
        best.on_train_epoch_end(trainer, None)
        stopped.append(trainer.should_stop)
    assert stopped == [False, False, False, True, False]
    for begins_at, ends in ((3, False), (4, True)):
        resumed = BestWeights("val/dice", patience_epochs=2)
        resumed.load_state_dict({"score": 0.5, "epoch": 1, "weights": {}})
        trainer = trainer_at(begins_at)
        resumed.on_train_start(trainer, None)
        assert trainer.should_stop is ends


def test_without_patience_training_never_ends_early():
    best = best_of([0.5] + [0.1] * 50)
    trainer = trainer_at(50)
    best.on_train_epoch_end(trainer, None)
    best.on_train_start(trainer, None)
    assert not trainer.should_stop


@pytest.mark.slow
def test_a_run_stops_early_and_a_resumed_one_does_not_go_on(tmp_path, phantoms):
    kept = Kept()
    # a rate too small to change the prediction: the first validation stays the best
    wanted = settings(epochs=9, early_stop_epochs=2, optimizer={"learning_rate": 1e-12})
    _, trainer, best, curves = fit(tmp_path, phantoms, wanted, callbacks=[kept])
    assert best.epoch == 0
    assert trainer.global_step == 6
    again = fit(tmp_path, phantoms, wanted, ckpt_path=tmp_path / "kept" / "last.ckpt")
    assert again[1].global_step == 6
    assert again[3].rows == curves.rows


@pytest.mark.parametrize(("interval", "validated"), [(1, [0, 1, 2, 3, 4]), (2, [1, 3, 4]), (4, [3, 4]), (5, [4])])
def test_validation_comes_every_so_many_epochs_and_after_the_last(tmp_path, phantoms, interval, validated):
    _, _, _, curves = fit(tmp_path, phantoms, settings(epochs=5, val_interval_epochs=interval))
    assert [row["epoch"] for row in curves.rows] == [0, 1, 2, 3, 4]
    assert [row["epoch"] for row in curves.rows if "val/dice" in row] == validated


def test_curves_hold_loss_rate_and_validation_of_each_epoch(tmp_path, phantoms):
    kept = Kept()
    wanted = settings(epochs=3, schedule={"name": "cosine"})
    _, _, _, curves = fit(tmp_path, phantoms, wanted, callbacks=[kept])
    for number, (row, val) in enumerate(zip(curves.rows, kept.val, strict=True)):
        assert row["epoch"] == number
        assert row["step"] == 2 * (number + 1)
        assert row["train/loss"] == pytest.approx(sum(kept.losses[2 * number : 2 * number + 2]) / 2, rel=1e-5)
        assert {key: value for key, value in row.items() if key.startswith("val/")} == val
    # the rate that the next step will have
    assert [row["lr"] for row in curves.rows[:2]] == pytest.approx([kept.rates[2], kept.rates[4]])
    written = list(csv.DictReader(io.StringIO((tmp_path / "curves.csv").read_text())))
    assert [float(row["val/dice"]) for row in written] == pytest.approx([row["val/dice"] for row in curves.rows])


def curve_trainer(step, **metrics):
    return stand_in(
        current_epoch=0,
        global_step=step,
        lr_scheduler_configs=[],
        callback_metrics={key: torch.tensor(value) for key, value in metrics.items()},
        is_global_zero=True,
    )


def test_curves_by_steps_have_a_row_every_so_many(tmp_path):
    curves = Curves(tmp_path / "c.csv", every_n_steps=3)
    for step in range(1, 8):
        curves.on_train_batch_end(curve_trainer(step, loss=step / 2), None)
    curves.on_train_epoch_end(curve_trainer(7), None)
    assert (tmp_path / "c.csv").read_text() == "epoch,step,loss\n0,3,1.5\n0,6,3\n"


def test_a_validation_is_told_once(tmp_path):
    curves = Curves(None)
    metrics = {"train/loss": 1.0, "val/dice": 0.5}
    curves.on_train_epoch_end(curve_trainer(1, **metrics), None)
    curves.on_validation_end(curve_trainer(2), None)
    curves.on_train_epoch_end(curve_trainer(2, **metrics), None)
    curves.on_train_epoch_end(curve_trainer(3, **metrics), None)
    assert ["val/dice" in row for row in curves.rows] == [False, True, False]
    assert list(tmp_path.iterdir()) == []


def test_only_the_first_rank_writes_curves(tmp_path):
    trainer = curve_trainer(1)
    trainer.is_global_zero = False
    Curves(tmp_path / "c.csv").on_train_epoch_end(trainer, None)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_whole_or_the_old_one_stays(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, path)

    def full(checkpoint, target):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        AtomicCheckpointIO().save_checkpoint({"epoch": 2}, path)
    assert torch.load(path, weights_only=True)["epoch"] == 1
    assert [item.name for item in tmp_path.iterdir()] == ["last.ckpt"]


def test_training_writes_its_checkpoint_atomically(tmp_path, phantoms, monkeypatch):
    fit(tmp_path, phantoms, settings(epochs=1))
    whole = (tmp_path / "kept" / "last.ckpt").read_bytes()
    saves = []

    def fails_later(checkpoint, target):
        saves.append(target)
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(callbacks.torch, "save", fails_later)
    with pytest.raises(OSError, match="No space left"):
        fit(tmp_path, phantoms, settings(epochs=1))
    assert len(saves) == 1
    assert (tmp_path / "kept" / "last.ckpt").read_bytes() == whole
    assert [item.name for item in (tmp_path / "kept").iterdir()] == ["last.ckpt"]


def test_one_checkpoint_is_kept_and_it_is_the_last_epochs(tmp_path, phantoms):
    fit(tmp_path, phantoms, settings(epochs=3))
    assert [item.name for item in (tmp_path / "kept").iterdir()] == ["last.ckpt"]
    # what resuming loads can run no code
    kept = torch.load(tmp_path / "kept" / "last.ckpt", weights_only=True)
    assert kept["epoch"] == 2
    assert kept["global_step"] == 6


def test_checkpoints_may_come_every_few_epochs(tmp_path):
    kept = last_checkpoint(tmp_path, every_n_epochs=4)
    assert isinstance(kept, ModelCheckpoint)
    assert kept._every_n_epochs == 4


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(time=100.0)
    monkeypatch.setattr(core_progress.time, "monotonic", lambda: now.time)
    return now


def stepping(step, **metrics):
    return stand_in(
        global_step=step,
        is_global_zero=True,
        estimated_stepping_batches=400,
        callback_metrics={key.replace("_", "/"): torch.tensor(value) for key, value in metrics.items()},
        num_predict_batches=[8],
    )


def test_progress_is_a_line_now_and_then_with_rate_and_time_left(clock, capsys):
    lines = ProgressReports("teacher", interval_s=10)
    lines.on_train_start(stepping(100), None)
    for step in range(101, 126):
        clock.time += 1
        lines.on_train_batch_end(stepping(step, train_loss=0.25, val_dice=0.5), None)
    assert capsys.readouterr().out.splitlines() == [
        f"teacher: step {step}/400, 1.00 steps/s, 5 min left, val/dice 0.5000, loss 0.2500" for step in (102, 112, 122)
    ]


def test_progress_of_predictions_counts_images(clock, capsys):
    lines = ProgressReports("pseudo-labels", interval_s=10)
    lines.on_predict_start(stepping(0), None)
    for number in range(8):
        clock.time += 4
        lines.on_predict_batch_end(stepping(0), None, None, None, number)
    assert capsys.readouterr().out.splitlines() == [
        "pseudo-labels: image 1/8",
        "pseudo-labels: image 4/8, 0.25 images/s, 16 s left",
        "pseudo-labels: image 7/8, 0.25 images/s, 4 s left",
    ]


def test_the_rate_is_that_of_what_follows_the_first_step(clock, capsys):
    lines = ProgressReports("gan", interval_s=10)
    lines.on_train_start(stepping(100), None)
    for step, seconds in [(101, 200), *((step, 2) for step in range(102, 107))]:
        clock.time += seconds
        lines.on_train_batch_end(stepping(step), None)
    assert capsys.readouterr().out.splitlines() == [
        "gan: step 101/400",
        "gan: step 106/400, 0.50 steps/s, 10 min left",
    ]


def test_each_run_of_one_trainer_has_a_rate_of_its_own(clock, capsys):
    lines = ProgressReports("teacher", interval_s=10)
    for seconds in (1, 5):
        lines.on_predict_start(stepping(0), None)
        for number in range(3):
            clock.time += seconds
            lines.on_predict_batch_end(stepping(0), None, None, None, number)
    assert capsys.readouterr().out.splitlines() == [
        "teacher: image 2/8, 1.00 images/s, 6 s left",
        "teacher: image 1/8",
        "teacher: image 3/8, 0.20 images/s, 25 s left",
    ]


def test_other_ranks_print_no_progress(clock, capsys):
    lines = ProgressReports("teacher", interval_s=0)
    trainer = stepping(1)
    trainer.is_global_zero = False
    lines.on_train_start(trainer, None)
    clock.time += 60
    lines.on_train_batch_end(trainer, None)
    assert capsys.readouterr().out == ""


class ReadsPerStep(L.Callback):
    """How many numbers have been read out of tensors from the start of each step to the start of the next."""

    def __init__(self, monkeypatch):
        self.count, self.marks = 0, []
        for name in ("item", "__float__"):
            monkeypatch.setattr(torch.Tensor, name, self.counted(getattr(torch.Tensor, name)))

    def counted(self, function):
        def read(tensor):
            self.count += 1
            return function(tensor)

        return read

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.marks.append((trainer.current_epoch, self.count))

    def of_epoch(self, epoch):
        counts = [count for number, count in self.marks if number == epoch]
        return [after - before for before, after in itertools.pairwise(counts)]


@pytest.mark.parametrize(("interval_s", "per_step"), [(10.0, 0), (0.0, 2)])
def test_metrics_are_read_for_lines_that_are_due_alone(tmp_path, phantoms, monkeypatch, interval_s, per_step):
    ticks = itertools.count()
    monkeypatch.setattr(core_progress, "time", SimpleNamespace(monotonic=lambda: next(ticks) / 1000))
    reads = ReadsPerStep(monkeypatch)
    lines = ProgressReports("teacher", interval_s)
    # in the second epoch there are a loss and a score to print; Adam would read its count of steps
    fit(tmp_path, phantoms, settings(epochs=2, batch_size=1), callbacks=[lines, reads], kind=PlainDescent)
    assert reads.of_epoch(0) == [0, 0, 0]
    assert reads.of_epoch(1) == [per_step] * 3
