"""Check of names that must differ because they name files."""

from collections import Counter
from collections.abc import Iterable, Sequence

from segkit.core.errors import SegkitError


def check_unique(
    names: Iterable[str],
    error: type[SegkitError],
    what: str,
    paths: Sequence[object] = (),
    advice: str = "each needs a name of its own",
) -> None:
    """Raise `error` if a name occurs more than once.

    Args:
        names: the names.
        error: type of the error.
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
