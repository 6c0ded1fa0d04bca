"""Check of names that must differ because they name files."""

from collections import Counter
from collections.abc import Iterable

from segkit.core.errors import SegkitError


def check_unique(names: Iterable[str], error: type[SegkitError], what: str) -> None:
    """Raise `error` if a name occurs more than once; `what` is the plural noun of the named things."""
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        more = f" (and {len(repeated) - 1} more)" if len(repeated) > 1 else ""
        raise error(f"two {what} have the name {repeated[0]!r}{more}; each needs a name of its own")
