import pytest

from segkit.core.wording import counted


@pytest.mark.parametrize(("number", "text"), [(0, "0 images"), (1, "1 image"), (2, "2 images"), (1001, "1001 images")])
def test_one_has_no_s(number: int, text: str) -> None:
    assert counted(number, "image") == text
