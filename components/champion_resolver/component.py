"""TFX component that finds the model a candidate has to beat."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.champion_resolver import executor
from components.code_fingerprint import code_fingerprint
from components.trainer.config import Likelihood


class ChampionResolverSpec(ComponentSpec):
    """Parameters, inputs and outputs of ChampionResolver."""

    PARAMETERS = {  # noqa: RUF012
        executor.REGISTRY_KEY: ExecutionParameter(type=str),
        executor.SERVING_DIR_KEY: ExecutionParameter(type=str),
        executor.NEW_LINE_KEY: ExecutionParameter(type=int),
        executor.LIKELIHOOD_KEY: ExecutionParameter(type=str),
        executor.GAUSSIAN_SCALE_KEY: ExecutionParameter(type=float),
        executor.CODE_FINGERPRINT_KEY: ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        executor.EXAMPLES_KEY: ChannelParameter(type=standard_artifacts.Examples),
        executor.MODEL_KEY: ChannelParameter(type=standard_artifacts.Model),
    }
    OUTPUTS = {  # noqa: RUF012
        executor.CHAMPION_KEY: ChannelParameter(type=standard_artifacts.Model),
    }


class ChampionResolver(base_component.BaseComponent):
    """Gives the newest champion, or the independent-pixel model on a first run.

    A component rather than a Resolver node, so that it runs alike on every runner.

    ```python
    resolver = ChampionResolver(
        examples=binarizer.outputs["model_ready_examples"],
        model=trainer.outputs["model"],
        registry="/models/champions/decoder",
        serving_dir="/models/serving/decoder",
        likelihood="gaussian",
        gaussian_scale=0.1,
    )
    ```

    Component `outputs` contains:
     - `champion`: Channel of type `standard_artifacts.Model` with an `evaluate` signature.
    """

    SPEC_CLASS = ChampionResolverSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        registry: str,
        serving_dir: str,
        likelihood: Likelihood,
        gaussian_scale: float,
        new_line: bool = False,
    ):
        """Constructs the component.

        Args:
          examples: Model-ready Examples. _required_
          model: The candidate. _required_
          registry: Folder of champions, as DecoderPusher writes it. _required_
          serving_dir: Folder of pushed decoders; one with versions but no champion is an error.
            _required_
          likelihood: What the candidate's p(x|z) is. _required_
          gaussian_scale: Its standard deviation, in intensities from 0 to 1; only `gaussian` has it
            from here, every other likelihood is fitted. _required_
          new_line: Whether to leave all champions so far aside, because another data set, kind of
            image or likelihood cannot be compared with them.
        """
        spec = ChampionResolverSpec(
            **{
                executor.EXAMPLES_KEY: examples,
                executor.MODEL_KEY: model,
                executor.REGISTRY_KEY: registry,
                executor.SERVING_DIR_KEY: serving_dir,
                executor.NEW_LINE_KEY: int(new_line),
                executor.LIKELIHOOD_KEY: likelihood,
                executor.GAUSSIAN_SCALE_KEY: float(gaussian_scale),
                executor.CODE_FINGERPRINT_KEY: code_fingerprint(
                    "components.champion_resolver",
                    "components.image_binarizer",
                    "components.content_noise",
                    "components.trainer.vae.likelihoods",
                ),
                executor.CHAMPION_KEY: types.Channel(type=standard_artifacts.Model),
            }
        )
        super().__init__(spec=spec)
