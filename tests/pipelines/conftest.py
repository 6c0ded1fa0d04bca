"""What these tests share."""

from tests.pipelines.shared import config, finished_runs, phantoms, stages_here

__all__ = ["config", "finished_runs", "phantoms", "stages_here"]
