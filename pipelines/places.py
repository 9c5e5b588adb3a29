"""Where a pipeline keeps things."""

import dataclasses
import os


@dataclasses.dataclass(frozen=True)
class Places:
    """Where a pipeline keeps things.

    Attributes:
      artifacts: TFX's pipeline root.
      serving_dir: The folder that a model server watches; one numbered folder a version.
      registry: The folder of champions.
    """

    artifacts: str
    serving_dir: str
    registry: str

    @classmethod
    def under(cls, root: str, serving_name: str) -> "Places":
        """The usual places under one folder.

        Args:
          root: The folder.
          serving_name: The model's name at the server; also names its line of champions.
        """
        return cls(
            artifacts=os.path.join(root, "artifacts"),
            serving_dir=os.path.join(root, "serving", serving_name),
            registry=os.path.join(root, "champions", serving_name),
        )
