"""Attacks by files that are uploaded to a product that runs, from another address of this machine."""

import gzip
import itertools
import random

import httpx

from benchmarks.attack_jobs import JobAttack

SLOW = 20  # bodies that arrive slowly at a time: more than there are places
BOMB, WIDE, LONG, ROWS = 300_000_000, 300_000, 5_000_000, 50_000  # bytes, columns, letters of a title, rows
HEADER = "user_id,item_id,timestamp\n"
LONGEST_READ = 20.0  # seconds after which one that is read is removed, if not before
TARGET = "attacked"


class UploadAttack(JobAttack):
    """The attacks on one product, uploads among them."""

    def slow_uploads(self) -> None:
        """Hold more uploads than there are places, each with a body that does not come to its end."""
        head = b"POST /uploads?filename=slow.csv HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\nuser_id"
        self._hold("slow upload", head, SLOW, 0.5)

    def uploads(self) -> None:
        """Upload traps and files, import each, and remove it before that is done or after."""
        drawn, files = random.Random(0), files_of()
        with self.client as client:
            for kind in itertools.cycle(files):
                if self.ending.is_set():
                    return
                self._one(client, kind, files[kind], drawn.uniform(0.0, LONGEST_READ))

    def _one(self, client: httpx.Client, kind: str, content: bytes, seconds: float) -> None:
        put = {"params": {"filename": f"{kind}.csv"}, "content": content}
        sent = self.ask(f"upload of {kind}", client, "POST", "/uploads", **put)
        if sent is None or sent.status_code != httpx.codes.CREATED:
            self.ending.wait(1.0)
            return
        path = f"/uploads/{sent.json()['upload_id']}"
        self.ask("import", client, "POST", f"{path}/import", json={"dataset": TARGET})
        for _ in range(int(seconds)):
            told = self.ask("look at an upload", client, "GET", path)
            if self.ending.wait(1.0) or told is None or told.json().get("state") not in ("reading", "writing"):
                break
        self.ask("removal of an upload", client, "DELETE", path)


def files_of() -> dict[str, bytes]:
    """Make the files by their kind."""
    rows = "".join(f"attacker {n % 997},thing {n % 89},{n}\n" for n in range(ROWS))
    return {
        "a bomb": gzip.compress(HEADER.encode() + b"\n" * BOMB),
        "a wide header": ",".join(f"column {n}" for n in range(WIDE)).encode(),
        "a long id": f"{HEADER}a,{'i' * LONG},1\n".encode(),
        "rows": (HEADER + rows).encode(),
    }
