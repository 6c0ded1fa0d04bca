"""`report`: one self-contained HTML file with the verdict, and what it rests on as JSON."""

from pipelines.context import Context
from pipelines.final_numbers import of_verdict
from pipelines.report import comparisons, evidence, page, verdict
from pipelines.verbs import ReportRequest
from segkit.core.files import write_json, write_text


def run(context: Context) -> None:
    """Write `report.html`, `verdict.json` and `comparisons.json`."""
    if not context.first_rank:
        return
    request: ReportRequest = context.settings
    found = evidence.gather(request, context.inputs, context.runtime.seed)
    write_json(context.out / "comparisons.json", [comparisons.as_json(paired) for paired in found.paired])
    decided = verdict.as_json(found.verdict)
    write_json(context.out / "verdict.json", decided)
    write_text(context.out / "report.html", page.render(found))
    context.tracker.summary(of_verdict(decided))
    print(found.verdict.headline)
