"""The table of compared networks: cost, scores, and the test of each against the baseline."""

from pipelines.report.album import Album
from pipelines.report.evidence import Evidence
from pipelines.report.model_table import columns
from segkit.metrics.tables import HEADINGS
from segkit.models import cost


def view(evidence: Evidence, album: Album) -> dict[str, object] | None:
    """The rows; None where no networks are compared."""
    rows = evidence.model_rows
    if not rows:
        return None
    return {
        "rows": rows,
        "baseline": rows[0].name,
        "metrics": columns(rows),
        "headings": HEADINGS,
        "side": cost.SIDE,
        "basis": evidence.verdict.basis,
    }
