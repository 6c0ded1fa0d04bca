import hashlib
import json
import os

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from segkit.core.errors import WeightsError
from segkit.data.settings import GeometrySettings
from segkit.models import build_model
from segkit.models.settings import SAUNetSettings
from segkit.tasks.combine import combine
from segkit.tasks.settings import InferenceSettings
from segkit.tasks.weights import (
    TENSORS,
    copy_model,
    describe_model,
    load_encoder,
    load_predictor,
    read_card,
    save_ensemble,
    save_network,
)

MODEL, PAD, PLAIN = SAUNetSettings(widths=(4, 8)), GeometrySettings(), InferenceSettings()
IMAGE = np.random.default_rng(0).integers(0, 256, (30, 27, 3), dtype=np.uint8)


def network(folder, seed=0, model=MODEL, geometry=PAD, threshold=0.5, **record):
    """A model's folder with random weights and running means; returns its tensors."""
    torch.manual_seed(seed)
    state = build_model(model).state_dict()
    for name, value in state.items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif value.is_floating_point() and not name.endswith("weight"):
            value.uniform_(-0.5, 0.5)
    save_network(folder, state, model, geometry, threshold, "val-best-dice", 0.75, **record)
    return state


def look(predictor):
    with torch.inference_mode():
        return predictor(IMAGE, PLAIN)


@pytest.fixture
def folder(tmp_path):
    network(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_tensors_come_back_bit_for_bit(tmp_path, norm):
    state = network(tmp_path, model=SAUNetSettings(widths=(4, 8), norm=norm))
    loaded = load_file(tmp_path / TENSORS)
    assert loaded.keys() == state.keys()
    assert all(torch.equal(value, loaded[name]) and value.dtype == loaded[name].dtype for name, value in state.items())


def test_channels_last_tensors_are_saved_too(tmp_path):
    state = build_model(MODEL).to(memory_format=torch.channels_last).state_dict()
    save_network(tmp_path, state, MODEL, PAD)
    loaded = load_file(tmp_path / TENSORS)
    assert all(torch.equal(value, loaded[name]) for name, value in state.items())


def test_a_loaded_network_has_the_logits_of_the_trained_one_without_its_batch_norms(tmp_path):
    trained = build_model(MODEL).eval()
    trained.load_state_dict(network(tmp_path))
    loaded = load_predictor(tmp_path).network
    image = torch.rand(1, 3, 32, 40)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(image), trained(image), rtol=1e-4, atol=1e-5)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in loaded.modules())


def test_a_model_says_what_it_is(tmp_path):
    network(tmp_path, threshold=0.37, trained_by="teacher")
    card = read_card(tmp_path)
    assert (card.kind, card.threshold, card.threshold_source, card.val_dice) == ("network", 0.37, "val-best-dice", 0.75)
    assert card.details["trained_by"] == "teacher"
    assert card.details["model"]["widths"] == [4, 8]
    assert load_predictor(tmp_path).threshold == 0.37


def test_the_geometry_of_training_is_the_geometry_of_use(tmp_path):
    network(tmp_path / "pad")
    network(tmp_path / "resize", geometry=GeometrySettings(mode="resize", size=16))
    padded, resized = (look(load_predictor(tmp_path / name)) for name in ("pad", "resize"))
    assert padded.shape == resized.shape == (1, 30, 27)
    assert 0.05 < padded.mean() < 0.95
    assert np.abs(padded - resized).max() > 1e-3


def test_a_score_that_is_no_number_is_left_out(tmp_path):
    save_network(tmp_path, build_model(MODEL).state_dict(), MODEL, PAD, val_dice=float("nan"))
    assert read_card(tmp_path).val_dice is None


def test_a_loaded_network_is_ready_to_predict(folder):
    predictor = load_predictor(folder)
    assert not predictor.network.training
    assert np.array_equal(look(predictor), look(predictor))  # DropBlock is off


def test_an_ensemble_holds_its_members_and_their_rule(tmp_path):
    members = {name: tmp_path / name for name in ("a", "b")}
    maps, thresholds = [], []
    for seed, folder in enumerate(members.values()):
        network(folder, seed)
        maps.append(look(load_predictor(folder)))
        thresholds.append(float(np.quantile(maps[-1], 0.3)))
        network(folder, seed, threshold=thresholds[-1])
    for rule in ("weighted", "vote", "max"):
        save_ensemble(tmp_path / rule, members, rule, [0.8, 0.2], 0.45, "val-best-dice", 0.8, candidates={"mean": 0.7})
        loaded = load_predictor(tmp_path / rule)
        assert loaded.threshold == 0.45
        np.testing.assert_array_equal(look(loaded), combine(np.stack(maps), rule, [0.8, 0.2], thresholds))
        assert read_card(tmp_path / rule).details["candidates"] == {"mean": 0.7}
    assert sorted(path.name for path in (tmp_path / "max").iterdir()) == ["members", "model.json"]


def test_an_ensemble_does_not_need_where_its_members_came_from(tmp_path):
    network(tmp_path / "a")
    save_ensemble(tmp_path / "e", {"a": tmp_path / "a"}, "mean", [1.0], 0.5, "fixed-0.5", None)
    before = look(load_predictor(tmp_path / "e"))
    (tmp_path / "a").rename(tmp_path / "gone")
    (tmp_path / "e").rename(tmp_path / "moved")
    np.testing.assert_array_equal(look(load_predictor(tmp_path / "moved")), before)


def test_one_network_with_an_encoder_is_an_encoder_and_anything_else_is_told(tmp_path, folder, monkeypatch):
    image = torch.zeros(1, 3, 32, 32)
    levels = load_encoder(folder).network.features(image)
    expected = load_predictor(folder).network.features(image)
    assert all(torch.equal(a, b) for a, b in zip(levels, expected, strict=True))
    save_ensemble(tmp_path / "e", {"a": folder}, "mean", [1.0], 0.5, "fixed-0.5", None)
    with pytest.raises(WeightsError, match="e is an ensemble; features come from one network, such as a member"):
        load_encoder(tmp_path / "e")
    monkeypatch.delattr(type(build_model(MODEL)), "features")
    with pytest.raises(WeightsError):
        load_encoder(folder)


def test_an_ensemble_may_be_a_member(tmp_path):
    network(tmp_path / "a", 1)
    network(tmp_path / "b", 2)
    save_ensemble(tmp_path / "e", {"a": tmp_path / "a"}, "mean", [1.0], 0.5, "fixed-0.5", None)
    members = {"e": tmp_path / "e", "b": tmp_path / "b"}
    save_ensemble(tmp_path / "outer", members, "mean", [0.5, 0.5], 0.5, "fixed-0.5", None)
    maps = np.stack([look(load_predictor(tmp_path / name)) for name in ("a", "b")])
    np.testing.assert_allclose(look(load_predictor(tmp_path / "outer")), maps.mean(0), atol=1e-6)


def test_a_copy_takes_the_model_and_nothing_beside_it(tmp_path, folder):
    (folder / "curves-0.csv").write_text("epoch\n")
    copy_model(folder, tmp_path / "copy")
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == ["model.json", "model.safetensors"]
    np.testing.assert_array_equal(look(load_predictor(tmp_path / "copy")), look(load_predictor(folder)))


def test_a_model_is_identified_by_the_content_of_its_files_wherever_it_lies(tmp_path, folder):
    described = describe_model(folder)
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in described["files"]}
    assert described["files"] == digests
    assert set(digests) == {"model.json", "model.safetensors"}
    assert (described["stage"], described["fingerprint"], described["images"]) == (None, None, None)
    copy_model(folder, tmp_path / "copy")
    assert describe_model(tmp_path / "copy")["weights_sha256"] == described["weights_sha256"]
    network(tmp_path / "other", seed=1)
    assert describe_model(tmp_path / "other")["weights_sha256"] != described["weights_sha256"]
    (tmp_path / "copy" / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"copy/model\.safetensors does not exist"):
        describe_model(tmp_path / "copy")


def test_an_ensemble_was_trained_on_what_any_member_was_trained_on(tmp_path):
    network(tmp_path / "a", images={"train": ["1", "2"], "val": ["3"]})
    network(tmp_path / "b", images={"train": ["3"], "val": ["1", "4"]})
    members = {name: tmp_path / name for name in "ab"}
    save_ensemble(tmp_path / "e", members, "mean", [0.5, 0.5], 0.5, "fixed-0.5", None)
    described = describe_model(tmp_path / "e")
    assert described["images"] == {"1": "train", "2": "train", "3": "train", "4": "val"}
    assert set(described["files"]) == {"model.json"} | {
        f"members/{name}/{file}" for name in "ab" for file in ("model.json", "model.safetensors")
    }
    network(tmp_path / "b")
    save_ensemble(tmp_path / "e", members, "mean", [0.5, 0.5], 0.5, "fixed-0.5", None)
    assert describe_model(tmp_path / "e")["images"] is None


def complaint(folder):
    """The one error, of one line, that loading ends with."""
    with pytest.raises(WeightsError) as caught:
        load_predictor(folder)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return str(caught.value).replace(str(folder), "FOLDER")


def test_a_folder_without_a_model_is_named(tmp_path, folder):
    expected = "FOLDER holds no model (model.json); give a folder such as a teacher's or an ensemble's"
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "none", tmp_path, tmp_path / "file"):
        assert complaint(place) == expected


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_truncated_tensor_file_is_named(folder, keep):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    assert complaint(folder).startswith("FOLDER/model.safetensors is not a whole safetensors file: ")


def test_a_pickle_under_the_name_of_tensors_runs_nothing(folder, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    torch.save({"weight": Bomb()}, folder / "model.safetensors")
    assert "is not a whole safetensors file" in complaint(folder)
    assert not (tmp_path / "made").exists()


def test_missing_tensors_are_named(folder):
    (folder / "model.safetensors").unlink()
    assert complaint(folder) == "FOLDER/model.safetensors does not exist"


def edit(folder, **changes):
    """Change keys of model.json, those of its details by `details__name`."""
    raw = json.loads((folder / "model.json").read_text())
    for key, value in changes.items():
        *sections, last = key.split("__")
        place = raw
        for section in sections:
            place = place[section]
        place[last] = value
    (folder / "model.json").write_text(json.dumps(raw))


@pytest.mark.parametrize(
    ("widths", "expected"),
    [([4, 16], "size mismatch for "), ([4, 8, 8], "size mismatch for "), ([8, 8], "size mismatch for ")],
)
def test_tensors_of_other_widths_are_refused(folder, widths, expected):
    edit(folder, details__model__widths=widths)
    message = complaint(folder)
    assert message.startswith("FOLDER/model.safetensors does not fit the network it is for: ")
    assert expected in message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"kind": "forest"}, "kind = 'forest': input should be 'network' or 'ensemble'"),
        ({"threshold": "half"}, "threshold = 'half': input should be a valid number"),
        ({"threshold": 1.5}, "threshold = 1.5: input should be less than or equal to 1"),
        ({"details": []}, "details = []: input should be a section with keys"),
        ({"details": {}}, "key 'model' is missing; it says: key 'geometry' is missing"),
        ({"details__model__width": 3}, "unknown key 'model.width' (value 3); did you mean 'widths'?"),
        ({"details__geometry__mode": "fold"}, "geometry.mode = 'fold': input should be 'pad' or 'resize'"),
        ({"colour": "red"}, "unknown key 'colour' (value 'red')"),
    ],
)
def test_a_wrong_description_is_refused(folder, changes, expected):
    edit(folder, **changes)
    message = complaint(folder)
    assert message.startswith("FOLDER/model.json does not describe a model: it says: ")
    assert expected in message


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", '"network"', "null", "{}", b"\xff\x00"])
def test_what_is_not_a_description_is_refused(folder, text):
    (folder / "model.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert complaint(folder).startswith("FOLDER/model.json does not describe a model: ")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"details__members": []}, "FOLDER/model.json does not describe a model: it says: members = []"),
        ({"details__rule": "best"}, "it says: rule = 'best': input should be 'mean', 'weighted', 'max'"),
        ({"details__weights": [1.0, 2.0]}, "it says: 1 members have 2 weights"),
        ({"details__members": ["b"]}, "FOLDER/members/b holds no model (model.json)"),
    ],
)
def test_a_wrong_ensemble_is_refused(tmp_path, folder, changes, expected):
    save_ensemble(tmp_path / "e", {"a": folder}, "mean", [1.0], 0.5, "fixed-0.5", None)
    edit(tmp_path / "e", **changes)
    assert expected in complaint(tmp_path / "e")


def test_a_failed_write_leaves_the_old_model(folder, monkeypatch):
    before = look(load_predictor(folder))

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("segkit.tasks.weights.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        network(folder, seed=9)
    np.testing.assert_array_equal(look(load_predictor(folder)), before)
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.safetensors"]
