"""The message of an error: one or two lines that a user can act on."""

import errno
from collections.abc import Iterator
from pathlib import Path

from pipelines.execution.process import ExitCode
from segkit.core.errors import RequestError, ResultError, SegkitError

DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
NOT_WRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS}

_ON_THE_HOST = "DefaultCPUAllocator: "
"""Beginning of torch's message that the machine's memory is too small, after the place in its code."""


def explain(error: BaseException) -> str:
    """The message: what was found, what was expected and what to do."""
    if isinstance(error, SegkitError):
        return str(error)
    full = next((cause for cause in causes(error) if _says_disk_is_full(cause)), None)
    if full is not None:
        return f"no space left on the disk{_folder(full)}; free some and run the same command to go on"
    if is_out_of_memory(error):
        return (
            f"out of memory ({_first_sentence(error)}); end what else needs it here, or compute in smaller parts: "
            "gan.images_per_pass, a smaller batch_size, a smaller resolution, or predict's --tile"
        )
    if is_lost_peer(error):
        return "another rank of this stage exited; see its error above"
    if isinstance(error, OSError) and error.strerror:
        named = f"{error.filename}: " if error.filename else ""
        advice = "; choose another folder, or change who may write there" if error.errno in NOT_WRITABLE else ""
        return f"{named}{error.strerror[:1].lower()}{error.strerror[1:]}{advice}"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text} (a fault of segkit's; `segkit --debug ...` shows where)"


def exit_code(error: BaseException) -> ExitCode:
    """The exit code of a stage that ends with this error under the runner."""
    if isinstance(error, RequestError):
        return ExitCode.INVALID_REQUEST
    if isinstance(error, ResultError):
        return ExitCode.RESULT_REJECTED
    if (
        isinstance(error, SegkitError | OSError)
        or is_out_of_memory(error)
        or any(_says_disk_is_full(cause) for cause in causes(error))
    ):
        return ExitCode.ENVIRONMENT
    return ExitCode.FAILED


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it was raised from or while handling, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def cause_to_report(error: BaseException) -> BaseException:
    """The error itself, unless a rank lost the others only while it was ending because of another error."""
    if not is_lost_peer(error):
        return error
    return next((cause for cause in causes(error) if not is_lost_peer(cause)), error)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of a GPU, or of the machine, was too small."""
    kinds = {"MemoryError", "OutOfMemoryError"}
    return type(error).__name__ in kinds or _ON_THE_HOST in str(error)


def is_lost_peer(error: BaseException) -> bool:
    """Whether it is gloo's or NCCL's error for a process of the group that does not answer."""
    kinds = {"DistBackendError", "DistNetworkError", "DistStoreError"}
    return type(error).__name__ in kinds or "gloo/transport" in str(error)


def _says_disk_is_full(error: BaseException) -> bool:
    # torch and safetensors do not raise OSError for a full disk; only their message names it.
    words = ("No space left on device", "file write failed", "iostream error")
    return (isinstance(error, OSError) and error.errno in DISK_FULL) or any(word in str(error) for word in words)


def _first_sentence(error: BaseException) -> str:
    text = " ".join(str(error).split()).rpartition(_ON_THE_HOST)[2]
    return text.split(". ")[0] or type(error).__name__


def _folder(error: BaseException) -> str:
    file = (error.filename2 or error.filename) if isinstance(error, OSError) else None
    return f" of {Path(file).parent}" if isinstance(file, str) else ""
