import pytest
import torch

from tests.tasks import small


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
