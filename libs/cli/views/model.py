"""How a model is shown: its state, the data that it was trained on, and its metrics on later data."""

from typing import TYPE_CHECKING, Any

from libs.cli.views.text import safe, short, table, words
from libs.customs.time import day_text

if TYPE_CHECKING:
    from rich.console import Console


def show_model(out: "Console", model: dict[str, Any]) -> None:
    """Print a model: state, data window and metrics."""
    window = model["window"]
    state = words(short(model["state"], "MODEL_STATE_"))
    out.print(f"[bold]{safe(model['version'])}[/]  {state}, proposed by {safe(model['proposed_by'])}")
    out.print(
        f"  {window['outcomes']:,} outcomes, {window['violations']:,} violations, {day_text(window['first_day'])} to "
        f"{day_text(window['last_day'])}, {safe(window['source'])}"
    )
    show_metrics(out, model["metrics"])


def show_metrics(out: "Console", metrics: dict[str, float | None]) -> None:
    """What was measured on days later than those that it learnt from: a row for each share of the highest scores."""
    known = {name: value for name, value in metrics.items() if value is not None}
    measured = known.pop("measured_consignments", None)
    if not known:
        out.print("  [dim]on later data: nothing could be measured[/]")
        return
    out.print(f"  on {measured:,.0f} later consignments:" if measured is not None else "  on later data:")
    shown = table("", "", right=(1,))
    shown.show_header = False
    for name, value in known.items():
        # Precisions and rates are shares; an area under a curve and a loss are none.
        shown.add_row(
            metric_text(name),
            f"{value:.1%}" if "_at_" in name or name.endswith(("_rate", "_share")) else f"{value:.3f}",
        )
    out.print(shown)


def metric_text(name: str) -> str:
    """Return what a metric is called before people: precision at 5 %, AUC."""
    words, _, share = name.partition("_at_")
    told = " ".join(word.upper() if word == "auc" else word for word in words.split("_"))
    return f"{told} at {share} %" if share else told
