"""What one run asks of the gate."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Judging:
    """What one run asks of the gate, beside what its recipe does.

    Attributes:
      new_line: Whether to leave all champions so far aside.
      bless_anyway: A reason to bless the model whatever the rules say; empty for none.
    """

    new_line: bool = False
    bless_anyway: str = ""
