"""Scores on degraded images."""

import numpy as np
import pytest
import torch

import segkit
from segkit.core.files import read_csv, read_json, sha256_file
from segkit.data.phantom import draw, write_dataset
from segkit.data.settings import GeometrySettings
from segkit.models import build_model
from segkit.models.settings import UNetSettings
from segkit.tasks.robustness import CHANGES, CLEAN, SCALES, versions
from segkit.tasks.weights import save_network
from tests.pipelines.tiny import segkit_here

SETTINGS = UNetSettings(widths=(2, 4))


def test_a_version_depends_on_the_image_and_its_name_alone():
    image = draw(0, 96, 92).image
    first, again, other = (dict(versions(image, name)) for name in ("a", "a", "b"))
    assert list(first) == [CLEAN, *(f"scale {factor}" for factor in SCALES), *CHANGES]
    for name, degraded in first.items():
        np.testing.assert_array_equal(degraded, again[name])
        assert np.array_equal(degraded, image) is (name == CLEAN)
        assert np.array_equal(degraded, other[name]) is not name.startswith("noise")
    assert first["scale 0.5"].shape == (48, 46, 3)
    np.testing.assert_array_equal(first["red 1.2, blue 0.6"][..., 1], image[..., 1])


@pytest.mark.slow
def test_the_table_has_the_scores_of_evaluate_and_names_training_images(tmp_path, capsys):
    write_dataset(tmp_path / "data", num_train=3, num_test=1, height=48, width=52, seed=0)
    data, table = f"drive:{tmp_path / 'data'}", tmp_path / "table.csv"
    photos = sorted((tmp_path / "data" / "training" / "images").iterdir())
    trained = {"train": [sha256_file(photos[0])], "val": []}
    torch.manual_seed(0)
    state = build_model(SETTINGS).state_dict()
    save_network(tmp_path / "model", state, SETTINGS, GeometrySettings(), 0.5, images=trained)
    model = ("--weights", str(tmp_path / "model"), "--data", data, "--split", "training")
    assert segkit_here("bench", "robustness", *model, "--csv", str(table), "--json", str(tmp_path / "table.json")) == 0
    assert "trained on 1 of these 3 images" in " ".join(capsys.readouterr().out.split())
    rows = read_json(tmp_path / "table.json")["rows"]
    assert [row["degradation"] for row in rows[::2]] == list(dict(versions(draw(0, 48, 52).image, "a")))
    assert [float(row["value"]) for row in read_csv(table)] == [row["value"] for row in rows]
    assert segkit_here("predict", *model, "--out", str(tmp_path / "maps")) == 0
    measured = {
        m.metric: m.value
        for m in segkit.evaluate(tmp_path / "maps", data, "training").parts[0].measurements
        if (m.region, m.averaging) == ("fov", "pooled")
    }
    clean = {row["metric"]: row["value"] for row in rows if row["degradation"] == CLEAN}
    assert clean == {metric: pytest.approx(measured[metric], abs=1e-9) for metric in ("dice", "auroc")}
    for row in rows:
        assert row["difference"] == pytest.approx(row["value"] - clean[row["metric"]])
        assert row["low"] <= row["difference"] <= row["high"]


def test_a_part_without_labels_is_refused(tmp_path):
    write_dataset(tmp_path, num_train=3, num_test=1, height=48, width=52, seed=0)
    for path in (tmp_path / "test" / "1st_manual").iterdir():
        path.unlink()
    assert segkit_here("bench", "robustness", "--data", f"drive:{tmp_path}", "--split", "test") == 2
