"""`report`: one self-contained HTML file with the verdict, and what it rests on as JSON."""

from pipelines.execution.worker import Context
from pipelines.report import comparisons, evidence, model_table, page, verdict
from pipelines.results.final_numbers import verdict_numbers
from pipelines.stage_types import ReportRequest
from segkit.core.files import write_json, write_text
from segkit.metrics.tables import MAX_WIDTH, render


def run(context: Context[ReportRequest]) -> None:
    """Write `report.html`, `verdict.json`, `comparisons.json` and, of a comparison of networks, `models.json`."""
    if not context.first_rank:
        return
    gathered = evidence.gather(context.settings, context.inputs, context.runtime.seed)
    decided = verdict.as_json(gathered.verdict)
    write_json(context.out / "comparisons.json", [comparisons.as_json(paired) for paired in gathered.paired])
    write_json(context.out / "verdict.json", decided)
    write_text(context.out / "report.html", page.render(gathered))
    context.tracker.summary(verdict_numbers(decided))
    if gathered.model_rows:
        assert gathered.verdict.basis is not None
        write_json(context.out / "models.json", model_table.as_json(gathered.model_rows, gathered.verdict.basis))
        print(render(model_table.table(gathered.model_rows, gathered.verdict.basis), MAX_WIDTH))
    print(gathered.verdict.headline)
