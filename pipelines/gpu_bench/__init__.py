"""Tests, timings and trainings on a machine with a CUDA device: the steps of `segkit bench gpu`, and their runner."""
