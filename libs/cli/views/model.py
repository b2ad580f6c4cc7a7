"""View of a model: its state, its training window, and its metrics on later data."""

from typing import TYPE_CHECKING, Any

from libs.cli.views.text import safe, short, table, words
from libs.customs.time import day_text

if TYPE_CHECKING:
    from rich.console import Console


def show_model(terminal: "Console", model: dict[str, Any]) -> None:
    """Print a model: state, data and metrics."""
    state = words(short(model["state"], "MODEL_STATE_"))
    terminal.print(f"[bold]{safe(model['version'])}[/]  {state}, proposed by {safe(model['proposed_by'])}")
    window = model.get("window")
    if window is None:
        metrics = model["metrics"]
        terminal.print(
            f"  {metrics['codes']:,.0f} codes from {metrics['declarations']:,.0f} declarations and {metrics['references']:,.0f} reference texts"
        )
        terminal.print(
            f"  on declarations that it was not trained on: right in {metrics['top1']:.1%}, among five in {metrics['top5']:.1%}"
        )
        return
    terminal.print(
        f"  {window['outcomes']:,} outcomes, {window['violations']:,} violations, {day_text(window['first_day'])} to "
        f"{day_text(window['last_day'])}, {safe(window['source'])}"
    )
    show_metrics(terminal, model["metrics"])


def show_metrics(terminal: "Console", metrics: dict[str, float | None]) -> None:
    """Print the metrics on days after the training window: a row for each."""
    values = {name: value for name, value in metrics.items() if value is not None}
    measured = values.pop("measured_consignments", None)
    if not values:
        terminal.print("  [dim]no measures on later data[/]")
        return
    terminal.print(f"  on {measured:,.0f} later consignments:" if measured is not None else "  on later data:")
    shown = table("", "", right=(1,))
    shown.show_header = False
    for name, value in values.items():
        # Precisions and rates are shares; an area under a curve and a loss are none.
        shown.add_row(
            metric_text(name),
            f"{value:.1%}" if "_at_" in name or name.endswith(("_rate", "_share")) else f"{value:.3f}",
        )
    terminal.print(shown)


def metric_text(name: str) -> str:
    """Return the displayed name of a metric: precision at 5 %, AUC."""
    words, _, share = name.partition("_at_")
    label = " ".join(word.upper() if word == "auc" else word for word in words.split("_"))
    return f"{label} at {share} %" if share else label
