"""Numbers with nouns for messages."""

import math


def counted(number: int, noun: str) -> str:
    """ "1 image", "2 images", "0 images"; for nouns with a plural in s."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def counted_images(number: int, num_patients: int, noun: str = "image") -> str:
    """ "28 images of 14 patients"; only "28 images" where each patient has one."""
    return counted(number, noun) + of_patients(number, num_patients)


def of_patients(num_images: int, num_patients: int) -> str:
    """ " of 14 patients"; empty where each patient has one image."""
    return "" if num_patients == num_images else f" of {counted(num_patients, 'patient')}"


def is_nan(value: object) -> bool:
    """Whether a value is a float and nan."""
    return isinstance(value, float) and math.isnan(value)


def duration(seconds: float) -> str:
    """ "0.4 s", "42 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def data_size(num_bytes: float) -> str:
    """ "512 B", "3.4 kB", "12.0 MB", "1.2 GB", in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 999.95 or unit == "GB":
            break
        num_bytes /= 1000
    return f"{num_bytes:.0f} B" if unit == "B" else f"{num_bytes:.1f} {unit}"
