"""Jobs: one at a time, in order, canceled where they are, and forgotten."""

import threading

import pytest

from mmfusion.serve.errors import NotHere
from mmfusion.serve.jobs import Job, JobQueue
from mmfusion.utils import UserError


@pytest.fixture
def queue():
    forgotten = []
    queue = JobQueue(forgotten.append)
    queue.forgotten = forgotten
    yield queue
    queue.close()


def test_order_results_and_one_at_a_time(queue):
    seen, running = [], []

    def work(job):
        running.append(job)
        assert len(running) == 1
        seen.append(job.total)
        job.done = job.total
        running.remove(job)
        return dict(number=job.total)

    jobs = [Job(work, number) for number in (1, 2, 3)]
    for job in jobs:
        queue.add(job)
    for job in jobs:
        assert job.ended.wait(10)
    assert seen == [1, 2, 3] and [job.result['number'] for job in jobs] == [1, 2, 3]
    assert {job.state for job in jobs} == {'done'}


def test_cancelling(queue):
    """A running job ends at its next check, a queued one at once, and the next one runs."""
    begun, ended = threading.Event(), []

    def endless(job):
        begun.set()
        while True:
            job.check()

    first, second = Job(endless, 1, lambda: ended.append('first')), Job(endless, 1, lambda: ended.append('second'))
    third = Job(lambda job: 'third', 1)
    for job in (first, second, third):
        queue.add(job)
    assert begun.wait(10) and queue.waiting_before(second) == 1 and queue.waiting_before(third) == 2
    queue.cancel(second.key)
    assert second.state == 'canceled' and ended == ['second'] and queue.waiting_before(third) == 1
    queue.cancel(first.key)
    assert third.ended.wait(10) and first.state == 'canceled' and third.result == 'third'
    assert ended == ['second', 'first']
    queue.cancel(third.key)  # has ended already
    assert third.state == 'done'


def test_errors_end_a_job_and_not_the_queue(queue, caplog):
    def wrong(job):
        raise UserError('the sizes differ')

    def broken(job):
        return {}['secret place']

    jobs = [Job(wrong, 1), Job(broken, 1), Job(lambda job: 1, 1)]
    for job in jobs:
        queue.add(job)
    assert jobs[-1].ended.wait(10) and jobs[-1].state == 'done'
    assert (jobs[0].state, jobs[0].error) == ('failed', 'the sizes differ')
    assert jobs[1].state == 'failed' and 'secret' not in jobs[1].error


def test_old_jobs_are_forgotten(queue):
    job = Job(lambda job: 1, 1)
    queue.add(job)
    assert job.ended.wait(10)
    queue.remove_older(60)
    assert queue[job.key] is job
    queue.remove_older(-1)
    assert queue.forgotten == [job]
    with pytest.raises(NotHere):
        queue[job.key]
    with pytest.raises(NotHere):
        queue.cancel(job.key)
