import torch

from segkit.core.determinism import deterministic, deterministic_kernels


def test_on_a_gpu_fp32_is_not_rounded_and_what_the_caller_allows_comes_back():
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        with deterministic_kernels(torch.device("cuda")):
            assert torch.get_float32_matmul_precision() == "highest"
            assert torch.backends.cudnn.deterministic
            assert not torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "high"
        assert not torch.backends.cudnn.deterministic
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.set_float32_matmul_precision(before)


def test_on_a_cpu_no_more_threads_than_the_limit_compute_and_the_others_come_back():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        for limit, num_threads in ((1, 1), (2, 2), (3, 2)):
            with deterministic(torch.device("cpu"), limit):
                assert torch.get_num_threads() == num_threads
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
