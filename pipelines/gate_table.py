"""The gate's verdict as a table, and what is probably wrong in words."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from components.elbo_evaluator.results import GateResult
from components.model_report.numbers import rule_cells, verdict


def print_gate(console: Console, result: GateResult) -> None:
    """Prints every rule, its numbers and its verdict, then the reasons and the diagnosis.

    Args:
      console: Where to.
      result: From `read_gate_result`.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("rule", no_wrap=True)
    for column in ("asked", "candidate", "champion", "difference"):
        # Numbers stay whole where a terminal is narrow.
        table.add_column(column, justify="right", no_wrap=column != "asked")
    table.add_column("verdict")
    for rule in result.rules:
        table.add_row(rule.name, *rule_cells(rule), _VERDICTS[verdict(rule)])
    console.print(table)
    console.print(f"champion: {result.champion_name}", highlight=False)
    notes = [rule for rule in result.rules if rule.message]
    for title, lines in (
        ("failed", [f"{rule.name}: {rule.message}" for rule in notes if not rule.passed]),
        ("not asked", [f"{rule.name}: {_why(rule.message)}" for rule in notes if rule.passed]),
        ("diagnosis", result.diagnosis),
    ):
        for line in lines:
            console.print(f"[bold]{title}[/]  {escape(line)}", highlight=False, soft_wrap=True)
    if result.bless_anyway:
        console.print(
            f"[bold yellow]Blessed anyway[/]: {escape(result.bless_anyway)}",
            highlight=False,
            soft_wrap=True,
        )
    elif result.blessed:
        console.print("[bold green]Blessed[/]: every rule holds.")
    else:
        console.print("[bold red]Not blessed.[/]")


def _why(message: str) -> str:
    return message.removeprefix("not asked: ")


_VERDICTS = {"holds": "[green]holds[/]", "fails": "[bold red]fails[/]", "not asked": "not asked"}
