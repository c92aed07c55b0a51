"""What changes while a backup is made, at the worst moments: checkpoints come and go, a user is erased."""

import logging

import pytest

from fedmem.backup import making
from fedmem.backup.making import back_up
from fedmem.checkpoint.atomic_files import write_bytes
from fedmem.errors import ConflictError
from fedmem.storage.copied_database import DatabaseCopy


class Trainer:
    """A job's folder and what the database says of it; what is to happen while the database is copied."""

    def __init__(self, folder, monkeypatch):
        self.data, self.target = folder / "data", folder / "backup"
        self.named, self.begun, self.deleted, self.meanwhile = {(1, "000001")}, {1}, (0,), []
        self.put("000001", b"one")
        monkeypatch.setattr(making, "copy_database", self.copy)
        monkeypatch.setattr(making, "deletion_state", lambda _: self.deleted)
        monkeypatch.setattr(making, "named_checkpoints", lambda _: frozenset(self.named))
        monkeypatch.setattr(making, "_files_of", lambda _: frozenset())

    def put(self, name: str, content: bytes) -> None:
        folder = self.data / "jobs" / "1" / "rounds" / name
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / "server.safetensors", content)

    def remove(self, name: str) -> None:
        self.named.discard((1, name))
        (self.data / "jobs" / "1" / "rounds" / name / "server.safetensors").unlink()
        (self.data / "jobs" / "1" / "rounds" / name).rmdir()

    def copy(self, _, target) -> DatabaseCopy:
        copied = DatabaseCopy("sqlite", "0006", frozenset(self.named), frozenset(self.begun), self.deleted)
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return copied

    def backed_up(self) -> dict[str, bytes]:
        back_up(None, self.data, self.target)
        files = self.target.glob("data/jobs/1/rounds/*/*")
        return {path.parent.name: path.read_bytes() for path in files}


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    return Trainer(tmp_path, monkeypatch)


def test_a_checkpoint_that_goes_after_the_database_named_it_is_there(trainer):
    trainer.meanwhile = [lambda: (trainer.put("000002", b"two"), trainer.remove("000001"))]
    assert trainer.backed_up() == {"000001": b"one"}, "and one that it does not name yet is not"


def test_a_job_that_begins_after_the_database_was_copied_is_not_there(trainer):
    trainer.named, trainer.begun = set(), set()
    trainer.remove("000001")
    trainer.meanwhile = [lambda: write_bytes(trainer.data / "jobs" / "1" / "manifest.json", b"{}")]
    assert trainer.backed_up() == {}
    assert not (trainer.target / "data" / "jobs" / "1").exists(), "its snapshot would stand for an earlier attempt's"


def test_one_that_is_named_and_gone_between_two_looks_is_asked_for_anew(trainer):
    trainer.named.add((1, "000002"))  # written, named and removed again after the files were taken
    trainer.meanwhile = [lambda: trainer.named.discard((1, "000002"))]
    assert trainer.backed_up() == {"000001": b"one"}


def test_a_user_who_is_erased_meanwhile_is_in_no_file(trainer):
    trainer.meanwhile = [lambda: trainer.put("000001", b"one without the user")]
    assert trainer.backed_up() == {"000001": b"one without the user"}


def test_nor_in_one_that_is_gone_since(trainer):
    def erase_and_go_on() -> None:
        trainer.put("000002", b"two without the user")
        trainer.named.add((1, "000002"))
        trainer.remove("000001")

    copy = trainer.copy

    def deleted_before(*arguments):
        trainer.deleted = (1,)  # after the files were taken, before the database was copied
        return copy(*arguments)

    making.copy_database = deleted_before
    trainer.meanwhile = [erase_and_go_on]
    assert trainer.backed_up() == {"000002": b"two without the user"}


def test_a_job_that_is_always_quicker_is_named(trainer):
    def always() -> None:
        trainer.named.discard((1, "000009"))
        trainer.meanwhile.append(always)

    copy = trainer.copy

    def named_again(*arguments):
        trainer.named.add((1, "000009"))
        return copy(*arguments)

    making.copy_database = named_again
    trainer.meanwhile = [always]
    with pytest.raises(ConflictError, match="job 1 removes checkpoints more quickly than they can be taken: pause it"):
        trainer.backed_up()
    assert not trainer.target.exists()


def test_a_checkpoint_that_was_lost_before_is_said_and_left_out(trainer, caplog):
    trainer.named.add((1, "000007"))
    with caplog.at_level(logging.WARNING):
        assert trainer.backed_up() == {"000001": b"one"}
    assert "checkpoint 000007 of job 1 is not in" in caplog.text


def test_the_folder_of_another_installation_is_found_out(trainer, tmp_path):
    trainer.data = tmp_path / "wrong"
    with pytest.raises(ConflictError, match="wrong holds none of them: name the trainers' folder"):
        trainer.backed_up()
