"""Networks and files that the tests of reading official pickles share."""

import pytest

from tests.gan.small_networks import networks, tiny
from tests.reference import gan_official_pickle as official


@pytest.fixture(scope="module")
def nets():
    return networks(tiny())


@pytest.fixture
def write(tmp_path):
    def write(data, name="network-snapshot-001000.pkl"):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else official.dumps(data))
        return path

    return write
