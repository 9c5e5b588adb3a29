"""Runs a pipeline in this process with BeamDagRunner, and tells how each step goes."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.beam import beam_dag_runner

from pipelines.metadata import latest_step


@dataclasses.dataclass(frozen=True)
class Step:
    """A component that has run.

    Attributes:
      node_id: The component's id.
      seconds: Wall time.
      cached: Whether earlier outputs were reused.
    """

    node_id: str
    seconds: float
    cached: bool


class StepFailedError(Exception):
    """A component raised an error; `__cause__` is that error."""

    def __init__(self, node_id: str, seconds: float):
        super().__init__(f"{node_id} failed after {seconds:.0f} s")
        self.node_id = node_id


@dataclasses.dataclass
class _Watch:
    """What the running pipeline reports to; Beam gives its workers no other way back."""

    pipeline_name: str
    on_start: Callable[[str], None]
    on_end: Callable[[Step], None]
    steps: list[Step] = dataclasses.field(default_factory=list)
    failure: tuple[str, float, BaseException] | None = None


_watch: _Watch | None = None


class _WatchedNode(beam_dag_runner.PipelineNodeAsDoFn):
    """A node that reports its start, end and failure."""

    def _run_node(self) -> None:
        _watch.on_start(self._node_id)
        start = time.monotonic()
        try:
            super()._run_node()
        except BaseException as error:
            _watch.failure = (self._node_id, time.monotonic() - start, error)
            raise
        record = latest_step(self._mlmd_connection_config, _watch.pipeline_name, self._node_id)
        step = Step(self._node_id, time.monotonic() - start, record.cached)
        _watch.steps.append(step)
        _watch.on_end(step)


class WatchedBeamDagRunner(beam_dag_runner.BeamDagRunner):
    """BeamDagRunner with nodes that report."""

    _PIPELINE_NODE_DO_FN_CLS = _WatchedNode


def run_locally(
    pipeline: tfx_pipeline.Pipeline,
    on_start: Callable[[str], Any] = lambda node_id: None,
    on_end: Callable[[Step], Any] = lambda step: None,
) -> list[Step]:
    """Runs a pipeline, step after step.

    Args:
      pipeline: With a metadata connection of its own.
      on_start: Called with a component's id when it starts.
      on_end: Called with each finished step.

    Returns:
      The steps, in the order in which they ended.

    Raises:
      StepFailedError: From the error of the component that failed.
    """
    global _watch
    _watch = _Watch(pipeline.pipeline_info.pipeline_name, on_start, on_end)
    try:
        WatchedBeamDagRunner().run(pipeline)
    except Exception:
        if _watch.failure is None:
            raise
        # The component's own error; Beam's wrapping of it adds only the names of stages.
        node_id, seconds, cause = _watch.failure
        raise StepFailedError(node_id, seconds) from cause
    return _watch.steps
