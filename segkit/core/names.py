"""Names that a person types: hints for misspelt ones, and a check of names that must differ because they name files."""

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence

from segkit.core.errors import SegkitError


def hint(name: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """What to type in place of an unknown name, as the end of a message: the nearest known names, or all.

    `otherwise` replaces the list of all names where none is near.
    """
    by_lower = {other.lower(): other for other in known}
    close = [by_lower[lower] for lower in difflib.get_close_matches(name.lower(), by_lower, n=2)]
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    return f"there are {', '.join(by_lower.values()) or 'none'}" if otherwise is None else otherwise


def check_unique(
    names: Iterable[str],
    error: type[SegkitError],
    what: str,
    paths: Sequence[object] = (),
    advice: str = "each needs a name of its own",
) -> None:
    """Raise `error` if a name occurs more than once.

    Args:
        what: plural noun of the named things, for the message.
        paths: the file of each name, for the message.
        advice: end of the message.
    """
    names = list(names)
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        same = [str(path) for name, path in zip(names, paths, strict=False) if name == repeated[0]]
        files = f" ({' and '.join(same[:2])})" if same else ""
        more = f" (and {len(repeated) - 1} more)" if len(repeated) > 1 else ""
        raise error(f"two {what} have the name {repeated[0]!r}{files}{more}; {advice}")
