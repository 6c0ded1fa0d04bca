"""Numbers in sentences."""


def counted(number: int, noun: str) -> str:
    """ "1 image", "2 images", "0 images"; for nouns that take an s."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def counted_images(number: int, num_patients: int, noun: str = "image") -> str:
    """ "28 images of 14 patients"; only "28 images" where each patient has one."""
    images = counted(number, noun)
    return images if num_patients == number else f"{images} of {counted(num_patients, 'patient')}"
