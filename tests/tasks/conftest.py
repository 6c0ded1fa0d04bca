import logging
import warnings

import pytest
import torch

from tests.tasks import small


@pytest.fixture(autouse=True)
def _calm():
    """Lightning's remarks on resuming from another callback's file and on what a trainer is set to."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Be aware that when using `ckpt_path`", UserWarning)
        warnings.filterwarnings("ignore", "Couldn't infer the batch indices", UserWarning)
        yield


@pytest.fixture
def one_thread():
    """On a CPU the last bits depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory):
    """Four phantoms to train on, three to validate on, one more."""
    return small.draw(tmp_path_factory.mktemp("phantoms"), ["train"] * 4 + ["val"] * 3 + ["holdout"])
