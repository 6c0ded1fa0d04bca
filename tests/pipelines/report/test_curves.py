from pathlib import Path

from pipelines.report import curves


def test_phases_are_joined_along_steps(tmp_path: Path) -> None:
    (tmp_path / "curves-0.csv").write_text("step,train/loss,val/dice\n4,1.0,\n8,0.5,0.3\n")
    (tmp_path / "curves-1.csv").write_text("step,train/loss,val/dice\n5,0.4,0.6\n")
    history = curves.read_phases(tmp_path)
    assert history is not None
    assert (history.lines["train/loss"].x, history.lines["train/loss"].y) == ([4, 8, 13], [1.0, 0.5, 0.4])
    assert history.later_phases == (8,)


def test_a_cell_that_was_not_measured_is_no_point(tmp_path: Path) -> None:
    (tmp_path / "curves-0.csv").write_text("step,val/dice,val/mcc\n4,,nan\n8,0.3,0.1\n")
    history = curves.read_phases(tmp_path)
    assert history is not None
    assert (history.lines["val/dice"].x, history.lines["val/dice"].y) == ([8], [0.3])
    assert history.lines["val/mcc"].x == [8]


def test_phases_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in range(11):
        (tmp_path / f"curves-{number}.csv").write_text(f"step,train/loss\n1,{number}\n")
    history = curves.read_phases(tmp_path)
    assert history is not None
    assert history.lines["train/loss"].y == list(range(11))


def test_a_training_without_curves_has_no_history(tmp_path: Path) -> None:
    assert curves.read_phases(tmp_path) is None
    assert curves.read_gan(tmp_path) is None


def test_the_gans_clock_is_kimg(tmp_path: Path) -> None:
    (tmp_path / "curves.csv").write_text("epoch,step,gan/kimg,gan/loss_g\n0,1,0.5,1\n0,2,1.0,2\n")
    history = curves.read_gan(tmp_path)
    assert history is not None
    assert (history.lines["gan/loss_g"].x, history.lines["gan/loss_g"].y) == ([0.5, 1.0], [1, 2])
