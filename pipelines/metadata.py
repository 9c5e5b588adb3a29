"""What ML Metadata remembers of a pipeline's latest run."""

import dataclasses
import os
from collections.abc import Mapping

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration.metadata import sqlite_metadata_connection_config

from components.errors import InputError


@dataclasses.dataclass(frozen=True)
class StepRecord:
    """The latest execution of a component.

    Attributes:
      cached: Whether earlier outputs were reused.
      outputs: Output key to artifact.
    """

    cached: bool
    outputs: Mapping[str, metadata_store_pb2.Artifact]


def sqlite_config(root: str) -> metadata_store_pb2.ConnectionConfig:
    """The SQLite file of a pipeline that runs here."""
    return sqlite_metadata_connection_config(os.path.join(root, "metadata.db"))


def latest_step(
    config: metadata_store_pb2.ConnectionConfig, pipeline_name: str, node_id: str
) -> StepRecord:
    """Looks a component's latest execution up.

    Args:
      config: Where the metadata is.
      pipeline_name: The pipeline.
      node_id: The component's id in it.

    Raises:
      InputError: If it never ran.
    """
    store = metadata_store.MetadataStore(config)
    context = store.get_context_by_type_and_name("node", f"{pipeline_name}.{node_id}")
    executions = store.get_executions_by_context(context.id) if context else []
    if not executions:
        raise InputError(f"{node_id} of pipeline {pipeline_name} has not run yet.")
    latest = max(executions, key=lambda execution: execution.id)
    outputs = {}
    events = store.get_events_by_execution_ids([latest.id])
    output_kinds = (metadata_store_pb2.Event.OUTPUT, metadata_store_pb2.Event.DECLARED_OUTPUT)
    by_id = {event.artifact_id: event for event in events if event.type in output_kinds}
    for artifact in store.get_artifacts_by_id(list(by_id)):
        outputs[by_id[artifact.id].path.steps[0].key] = artifact
    return StepRecord(latest.last_known_state == metadata_store_pb2.Execution.CACHED, outputs)
