"""Work in the background: it goes on, whatever happens, until it is closed."""

from __future__ import annotations

import asyncio

import pytest

from server.periodic import Periodic
from tests.fakes.waiting import until

SECRET = "the text that nobody may read in a log"


class Work:
    """Fails with the errors it is given, one each time, then succeeds."""

    def __init__(self, *failures: Exception | None) -> None:
        self.failures = list(failures)
        self.times = 0
        self.cancelled = False

    async def __call__(self) -> None:
        self.times += 1
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure

    async def forever(self) -> None:
        self.times += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def test_it_goes_on_until_it_is_closed() -> None:
    work = Work()
    periodic = Periodic("counting", work, 0.0)
    periodic.start()
    await until(lambda: work.times >= 3)
    await periodic.close()
    times = work.times
    await asyncio.sleep(0.02)
    assert work.times == times


@pytest.mark.parametrize("at_once", [True, False])
async def test_the_first_time_is_an_interval_later_or_at_once(at_once: bool) -> None:
    work = Work()
    periodic = Periodic("counting", work, 3600.0, at_once=at_once)
    periodic.start()
    await asyncio.sleep(0.02)
    await periodic.close()
    assert work.times == at_once


async def test_each_failure_is_logged_once_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    work = Work(ValueError(SECRET), ValueError(SECRET), KeyError(SECRET), None, KeyError(SECRET))
    periodic = Periodic("counting", work, 0.0)
    periodic.start()
    await until(lambda: work.times >= 6)
    await periodic.close()
    said = [record.getMessage() for record in caplog.records if record.name == "server.periodic"]
    assert said == [f"counting failed, and is tried again: {kind}" for kind in ("ValueError", "KeyError", "KeyError")]
    assert SECRET not in caplog.text


async def test_closing_interrupts_the_work_and_may_be_repeated() -> None:
    work = Work()
    periodic = Periodic("waiting", work.forever, 0.0)
    await periodic.close()
    periodic.start()
    await until(lambda: work.times == 1)
    await periodic.close()
    await periodic.close()
    assert work.cancelled
