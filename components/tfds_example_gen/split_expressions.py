"""TFDS split expressions such as `train[:90%]` and `train+validation`, made absolute."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from components.errors import InputError


class Slice(NamedTuple):
    """A run of consecutive examples of one stored split, `start` included, `stop` excluded."""

    split: str
    start: int
    stop: int


def make_split_infos(sizes: Mapping[str, int]) -> dict[str, Any]:
    """Describes stored splits to TFDS by their number of examples, as one shard each."""
    import tensorflow_datasets as tfds

    return {
        name: tfds.core.SplitInfo(name=name, shard_lengths=[size], num_bytes=0)
        for name, size in sizes.items()
    }


def resolve_split(expression: str, split_infos: Mapping[str, Any]) -> list[Slice]:
    """Turns a split expression into the examples that it stands for.

    Args:
      expression: A TFDS split expression, for instance `train[:90%]+test`.
      split_infos: The stored splits, name -> `tfds.core.SplitInfo`.

    Returns:
      One slice a term of the expression; together they hold at least one example.

    Raises:
      InputError: If the expression is malformed, names a split that does not exist, reaches
        beyond a split, or selects nothing.
    """
    import tensorflow_datasets as tfds

    existing = ", ".join(sorted(split_infos)) or "none"
    try:
        instruction = tfds.core.ReadInstruction.from_spec(expression)
    except Exception as error:  # TFDS raises several types, each with a text of many lines.
        raise InputError(
            f"Split {expression!r} is malformed; write it like train, train[:90%], train[90%:] "
            f"or train+test. Existing splits: {existing}."
        ) from error
    try:
        absolute = instruction.to_absolute(dict(split_infos))
    except ValueError as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(
            f"Split {expression!r} cannot be read: {reason}. Existing splits: "
            f"{_describe_sizes(split_infos)}."
        ) from error
    slices = []
    for term in absolute:
        stop = split_infos[term.splitname].num_examples if term.to is None else term.to
        start = term.from_ or 0
        slices.append(Slice(term.splitname, start, max(start, stop)))
    if not count_examples(slices):
        raise InputError(
            f"Split {expression!r} is empty; widen it. Existing splits: "
            f"{_describe_sizes(split_infos)}."
        )
    return slices


def count_examples(slices: list[Slice]) -> int:
    """Counts the examples of resolved slices; those that are named twice count twice."""
    return sum(part.stop - part.start for part in slices)


def find_overlaps(resolved: Mapping[str, list[Slice]]) -> list[tuple[str, str]]:
    """Lists the pairs of output splits that share an example, in the order of `resolved`."""
    names = list(resolved)
    return [
        (one, other)
        for index, one in enumerate(names)
        for other in names[index + 1 :]
        if any(_overlap(a, b) for a in resolved[one] for b in resolved[other])
    ]


def _overlap(a: Slice, b: Slice) -> bool:
    return a.split == b.split and max(a.start, b.start) < min(a.stop, b.stop)


def _describe_sizes(split_infos: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} ({split_infos[name].num_examples})" for name in sorted(split_infos))
