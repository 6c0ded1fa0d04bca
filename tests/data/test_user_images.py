import pytest

from segkit.core.errors import RequestError
from segkit.data.phantom import write_dataset
from segkit.data.readers import image_files
from segkit.data.user_images import dataset_rows, file_rows


@pytest.fixture
def photos(tmp_path):
    """A folder of empty files: listing opens none."""
    names = ["a.png", "B.TIFF", "c.webp", "d.bmp", "notes.txt", ".e.png", "left/a.png", "left/deep/f.jpg", ".git/g.png"]
    for name in names:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "photos"


def test_image_files_are_listed_by_suffix_and_below_on_request(photos):
    def listed(**options):
        return [path.relative_to(photos).as_posix() for path in image_files(photos, **options)]

    assert listed() == ["B.TIFF", "a.png", "c.webp", "d.bmp"]
    assert sorted(listed(recursive=True)) == ["B.TIFF", "a.png", "c.webp", "d.bmp", "left/a.png", "left/deep/f.jpg"]
    assert image_files(photos / "nowhere", recursive=True) == []


def test_images_are_named_by_their_place_below_the_folder(photos):
    rows = file_rows([photos], recursive=True)
    assert {row.name: row.image.path for row in rows} == {
        "B": photos / "B.TIFF",
        "a": photos / "a.png",
        "c": photos / "c.webp",
        "d": photos / "d.bmp",
        "left/a": photos / "left" / "a.png",
        "left/deep/f": photos / "left" / "deep" / "f.jpg",
    }
    assert [row.name for row in file_rows([photos / "left", photos / "c.webp"])] == ["a", "c"]
    assert {row.name for row in file_rows([photos], True, photos / "left")} == {"B", "a", "c", "d"}


def test_files_that_differ_only_in_the_suffix_keep_it(photos):
    (photos / "a.JPG").write_bytes((photos / "a.png").read_bytes())
    assert {row.name for row in file_rows([photos])} == {"B", "a.jpg", "a.png", "c", "d"}


def test_what_cannot_be_listed_is_refused(photos, tmp_path):
    (photos / "none").mkdir()
    for paths, words in [
        ([photos / "z.png"], "does not exist"),
        ([photos / "none"], "holds no image"),
        ([photos, photos / "left"], "have the name"),
        ([tmp_path], "its sub-folders do, add --recursive"),
    ]:
        with pytest.raises(RequestError, match=words):
            file_rows(paths)


def test_a_part_of_a_data_set_comes_with_its_fields_of_view(tmp_path):
    write_dataset(tmp_path, num_train=3, num_test=1, height=48, width=52, seed=0)
    assert [row.name for row in dataset_rows(f"drive:{tmp_path}", "test")] == ["01_test"]
    rows = dataset_rows(f"drive:{tmp_path}", "all")
    assert len(rows) == 4
    assert all(row.region and row.region.path.stem.startswith(row.name) for row in rows)
