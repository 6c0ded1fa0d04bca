"""What the stage `gan` asks of its Trainer."""

from types import SimpleNamespace

import pytest

from pipelines.stage_types import GanStageSettings
from pipelines.stages import gan
from segkit.tasks.settings import RuntimeSettings


class StoppedError(Exception):
    pass


@pytest.mark.parametrize(("deterministic", "benchmark"), [(False, True), (True, None)])
def test_cudnn_searches_for_the_fastest_kernels_unless_results_must_repeat(
    tmp_path, monkeypatch, deterministic, benchmark
):
    asked = {}

    def build_trainer(*args, **options):
        asked.update(options)
        raise StoppedError

    split = SimpleNamespace(rows=())
    monkeypatch.setattr(gan, "read_manifest", lambda path: SimpleNamespace(split=lambda name: split))
    monkeypatch.setattr(gan, "build_trainer", build_trainer)
    settings = GanStageSettings(resolution=8, batch_size=4, channel_base=64)
    context = SimpleNamespace(
        settings=settings,
        runtime=RuntimeSettings(deterministic=deterministic),
        inputs={"data": tmp_path},
        work=tmp_path,
        out=tmp_path,
        name="gan",
        tracker=SimpleNamespace(logger=None),
    )
    with pytest.raises(StoppedError):
        gan.run(context)
    assert asked["benchmark"] is benchmark
