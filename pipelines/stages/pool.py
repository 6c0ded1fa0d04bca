"""`pool`: the scores of all cells of a repeated experiment, pooled over seeds, with tables and a report."""

from pipelines.execution.worker import Context
from pipelines.pooling import page, pool, text, verdict
from pipelines.stage_types import PoolRequest
from segkit.core.files import write_json, write_text
from segkit.metrics.tables import MAX_WIDTH, Table, render

BRIEF = ("dice", "sensitivity", "auroc")
"""The metrics printed in the terminal; the files contain all."""


def run(context: Context[PoolRequest]) -> None:
    """Write `report.html`, `verdict.json`, `scores.csv`, `differences.csv` and `tables.txt`."""
    if not context.first_rank:
        return
    pooled = pool.pool(context.settings, context.inputs, context.runtime.seed)
    differences = text.difference_table(pooled.differences)
    write_json(context.out / "verdict.json", text.as_json(pooled))
    write_text(context.out / "scores.csv", text.scores_csv(pooled))
    write_text(context.out / "differences.csv", text.differences_csv(pooled))
    write_text(context.out / "tables.txt", _rendered(text.score_table(pooled), differences))
    write_text(context.out / "report.html", page.render(pooled, context.out))
    context.tracker.summary({"verdict/sentence": verdict.headline(pooled), "verdict/outcome": verdict.outcome(pooled)})
    print(_rendered(text.score_table(pooled, BRIEF), differences))
    for line in text.failed_lines(pooled.failed):
        print(line)
    print(verdict.headline(pooled))


def _rendered(*tables: Table) -> str:
    return "\n".join(render(table, MAX_WIDTH) for table in tables if table.rows)
