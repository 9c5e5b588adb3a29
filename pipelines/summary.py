"""The table that a run ends with."""

import dataclasses
import json
import os

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from components.champion_resolver.executor import (
    KIND_PROPERTY,
    LIKELIHOOD_PROPERTY,
    VERSION_PROPERTY,
    describe_champion,
)
from components.elbo_evaluator.results import GateResult, read_gate_result
from components.image_binarizer.image_format import ImageFormat
from components.model_report.numbers import bits_per_dimension, difference, has_bits, nats, score
from pipelines.local_runner import Step
from pipelines.metadata import latest_step


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
      gate: ElboEvaluator's numbers and verdict.
      champion: What kind of model the champion was.
      bits_over: Values per image, if scores are also told in bits per dimension; else None.
      pushed_path: The pushed decoder's folder, or None.
      reason: Why nothing was pushed; empty if something was.
      num_undecodable: Images that could not be decoded and were left out.
      dead_letters: The folder that holds them.
      report: The page of pictures and numbers.
    """

    gate: GateResult
    champion: str
    bits_over: int | None
    pushed_path: str | None
    reason: str
    num_undecodable: int
    dead_letters: str
    report: str


def read_outcome(metadata_config, pipeline_name: str) -> Outcome:
    """Reads the outcome of a pipeline's latest run from its artifacts."""

    def output(node_id: str, key: str):
        return latest_step(metadata_config, pipeline_name, node_id).outputs[key]

    champion = output("ChampionResolver", "champion")
    pushed = output("DecoderPusher", "pushed_model")
    examples = output("ImageBinarizer", "model_ready_examples")
    dead_letters = output("ImageBinarizer", "dead_letters")
    likelihood = champion.custom_properties[LIKELIHOOD_PROPERTY].string_value
    destination = pushed.custom_properties["pushed_destination"].string_value
    return Outcome(
        gate=read_gate_result(output("ElboEvaluator", "evaluation").uri),
        champion=describe_champion(
            champion.custom_properties[KIND_PROPERTY].string_value,
            champion.custom_properties[VERSION_PROPERTY].int_value,
        ),
        bits_over=ImageFormat.read(examples.uri).num_pixels if has_bits(likelihood) else None,
        pushed_path=destination or None,
        reason=pushed.custom_properties["reason"].string_value,
        num_undecodable=sum(
            json.loads(dead_letters.custom_properties["split_sizes"].string_value).values()
        ),
        dead_letters=dead_letters.uri,
        report=output("ModelReport", "report").custom_properties["page"].string_value,
    )


def print_summary(console: Console, steps: list[Step], outcome: Outcome, target: str) -> None:
    """Prints seconds a step, the two ELBOs, the verdict, and what to do next.

    Args:
      console: Where to.
      steps: The run's steps.
      outcome: From `read_outcome`.
      target: How the model that is scored is described, for instance its image format.
    """
    table = Table(title=None, show_header=True, header_style="bold", box=None, pad_edge=False)
    table.add_column("step")
    table.add_column("seconds", justify="right")
    for step in steps:
        table.add_row(step.node_id, "cached" if step.cached else f"{step.seconds:.1f}")
    table.add_row("total", f"{sum(step.seconds for step in steps):.1f}", style="bold")
    console.print()
    console.print(table)

    gate = outcome.gate
    scores = Table(show_header=True, header_style="bold", box=None, pad_edge=False)
    scores.add_column("nats per image")
    for column in ("ELBO", "rate", "distortion"):
        scores.add_column(column, justify="right")
    for name, values in (
        ("candidate", gate.candidate),
        (f"champion ({outcome.champion})", gate.champion),
    ):
        rate, distortion = nats(values.get("rate")), nats(values.get("distortion"))
        scores.add_row(name, score(values, "elbo"), rate, distortion)
    scores.add_row("difference", difference(gate.candidate), "", "", style="bold")
    console.print()
    console.print(scores)
    console.print(f"on {gate.num_examples:,} test images, {target}", highlight=False)
    bound = gate.candidate.get("importance_weighted_bound")
    if bound is not None:
        count = int(gate.candidate["importance_weighted_count"])
        console.print(
            f"importance-weighted bound: {score(gate.candidate, 'importance_weighted_bound')} "
            f"on {count:,} of them",
            highlight=False,
        )
    if outcome.bits_over:
        # A line of its own: as a column, it would break the table's lines at 80 characters.
        ours, theirs = (
            bits_per_dimension(values, outcome.bits_over)
            for values in (gate.candidate, gate.champion)
        )
        console.print(f"bits per dimension: candidate {ours}, champion {theirs}", highlight=False)
    if outcome.num_undecodable:
        console.print(
            f"[bold yellow]Could not be decoded: {outcome.num_undecodable:,}[/] of the images; "
            f"they were left out, and are in {outcome.dead_letters}",
            soft_wrap=True,
            highlight=False,
        )
    console.print()
    if outcome.pushed_path:
        serving_dir = os.path.dirname(outcome.pushed_path)
        if gate.bless_anyway:
            console.print(
                f"[bold yellow]Blessed anyway[/]: {escape(gate.bless_anyway)}",
                soft_wrap=True,
                highlight=False,
            )
            for failure in gate.failures:
                console.print(f"  although {escape(failure)}", soft_wrap=True, highlight=False)
        else:
            console.print("[bold green]Blessed[/]: every rule of the gate holds.")
        console.print(f"Decoder:  {outcome.pushed_path}", soft_wrap=True, highlight=False)
        console.print(f"Serve it: tfx-vae serve {serving_dir}", soft_wrap=True, highlight=False)
        console.print("Ask it:   tfx-vae generate --output generated.png", highlight=False)
    else:
        console.print(
            f"[bold red]Not blessed[/]: {escape(outcome.reason)}.", soft_wrap=True, highlight=False
        )
        for sentence in gate.diagnosis:
            console.print(f"[bold]Probably[/]: {escape(sentence)}", soft_wrap=True, highlight=False)
        console.print("Nothing was pushed; what was served before is served still.")
    console.print(f"Report:   {outcome.report}", soft_wrap=True, highlight=False)
