import logging
import threading
from unittest.mock import Mock

from fedmem.storage.jobs import JobStore, Lease
from trainer.abandonable import ABANDONED
from trainer.worker import _log_of


def test_what_an_earlier_job_left_behind_says_nothing_in_the_log_of_the_next():
    jobs, lease = Mock(spec=JobStore), Lease(2, 1, "trainer")
    said = logging.getLogger("fedmem.features.build")
    with _log_of(jobs, lease):
        said.warning("of this job")
        left = threading.Thread(target=said.warning, args=("of the job before",), name=ABANDONED)
        left.start()
        left.join()
    assert [call.args for call in jobs.log.call_args_list] == [(lease, "WARNING", "of this job")]
