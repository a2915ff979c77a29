"""What is kept of the jobs on a disk that may be full."""

from __future__ import annotations

import asyncio
import errno
import threading
from pathlib import Path

import pytest

from onnxdream.runtime.settings.settings import Settings
from onnxdream.studio.jobs.folder import Folder, new_id
from onnxdream.studio.jobs.job import StudioJob
from onnxdream.studio.keeper import Keeper


def test_a_job_is_saved_as_soon_as_the_disk_has_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = StudioJob(new_id(), "cat", "", "p", "cat.jpg", 64, 48, "cat-dream.png", "tiny", Settings(), Settings())
    folder = Folder(tmp_path)
    folder.of(job).mkdir()
    refused, save = threading.Event(), Folder.save

    def save_the_second_time(self: Folder, identifier: str, text: str) -> None:
        if not refused.is_set():
            refused.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        save(self, identifier, text)

    async def end_a_dream() -> None:
        keeper = Keeper(folder, {job.id: job})
        job.state = "finished"
        keeper.changed(job)
        assert await asyncio.to_thread(refused.wait, 60)
        await keeper.close()

    monkeypatch.setattr(Folder, "save", save_the_second_time)
    asyncio.run(end_a_dream())
    assert [(kept.id, kept.state) for kept in folder.read_jobs()] == [(job.id, "finished")]
    folder.close()
