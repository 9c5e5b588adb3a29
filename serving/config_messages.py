"""Two configuration messages of TF Serving that the package tensorflow-serving-api leaves out.

The fields are those of tensorflow_serving/config/{ssl_config,monitoring_config}.proto, 2.16.1.
"""

from __future__ import annotations

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "tensorflow.serving"
_FIELD = descriptor_pb2.FieldDescriptorProto
_FIELDS = {
    "SSLConfig": {
        "server_key": _FIELD.TYPE_STRING,
        "server_cert": _FIELD.TYPE_STRING,
        "custom_ca": _FIELD.TYPE_STRING,
        "client_verify": _FIELD.TYPE_BOOL,
    },
    "PrometheusConfig": {"enable": _FIELD.TYPE_BOOL, "path": _FIELD.TYPE_STRING},
    "MonitoringConfig": {"prometheus_config": "PrometheusConfig"},
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="serving/config_messages.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for number, (field_name, kind) in enumerate(fields.items(), start=1):
            field = message.field.add(name=field_name, number=number, label=_FIELD.LABEL_OPTIONAL)
            if isinstance(kind, str):
                field.type = _FIELD.TYPE_MESSAGE
                field.type_name = f".{_PACKAGE}.{kind}"
            else:
                field.type = kind
    return file


# A pool of its own, so that a package with the real files can be imported as well.
_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_file())
_FACTORY = message_factory.MessageFactory(_POOL)

SSLConfig = _FACTORY.GetPrototype(_POOL.FindMessageTypeByName(f"{_PACKAGE}.SSLConfig"))
MonitoringConfig = _FACTORY.GetPrototype(
    _POOL.FindMessageTypeByName(f"{_PACKAGE}.MonitoringConfig")
)
