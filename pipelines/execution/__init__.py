"""Execution of a pipeline: the runner, the process of a stage, the worker in it, progress, and reasons for reruns."""
