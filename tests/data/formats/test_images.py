"""Pictures in a folder, by the ids in their names."""

import pytest

from fedmem.data.formats.images import find_images
from fedmem.errors import DataError


def test_pictures_of_a_folder(tmp_path):
    for name in ("1.PNG", "1.jpg", "2.webp", "notes.txt"):
        (tmp_path / name).write_bytes(b"picture")
    assert find_images(tmp_path) == {"1": tmp_path / "1.jpg", "2": tmp_path / "2.webp"}


def test_a_folder_without_pictures_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    for name, fault in (("nowhere", "is not a folder"), ("empty", "holds no pictures")):
        with pytest.raises(DataError, match=f"{name} {fault}; a folder of pictures named <item id>"):
            find_images(tmp_path / name)


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    secret, folder = tmp_path / "secret.png", tmp_path / "pictures"
    folder.mkdir()
    secret.write_bytes(b"not for all")
    (folder / "1.png").symlink_to(secret)
    with pytest.raises(DataError, match=r"1\.png lies outside of .*pictures, and all may see it"):
        find_images(folder)
