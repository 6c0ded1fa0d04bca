"""`report`: one self-contained HTML file with the verdict, and what it rests on as JSON."""

from pipelines.context import Context
from pipelines.report import comparisons, evidence, page, verdict
from pipelines.verbs import ReportRequest
from segkit.core.files import write_json, write_text


def run(context: Context) -> None:
    """Write `report.html`, `verdict.json` and `comparisons.json`."""
    if not context.first_rank:
        return
    request: ReportRequest = context.settings
    gathered = evidence.gather(request, context.inputs, context.runtime.seed)
    decided = gathered.verdict
    write_json(context.out / "comparisons.json", [comparisons.as_json(paired) for paired in gathered.paired])
    write_json(context.out / "verdict.json", verdict.as_json(decided))
    write_text(context.out / "report.html", page.render(gathered))
    context.tracker.summary({"verdict": decided.headline, "outcome": decided.outcome})
    print(decided.headline)
