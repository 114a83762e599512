"""Whether a newer set of messages still understands an older one: names and numbers only grow."""

from collections.abc import Iterator

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)


def breaks(old: FileDescriptorSet, new: FileDescriptorSet) -> list[str]:
    """What in ``new`` an ``old`` peer would misunderstand, a line each; empty when nothing.

    A field, choice or call may be added. None may be removed, renumbered, or change its type,
    repetition or presence; and so no number is ever used for something else.
    """
    before, now = dict(_facts(old)), dict(_facts(new))
    return [
        f"{name} was {fact} in the last release and is {now.get(name, 'gone')} now; "
        "put it back, and add something new instead"
        for name, fact in before.items()
        if now.get(name) != fact
    ]


def _facts(files: FileDescriptorSet) -> Iterator[tuple[str, str]]:
    for file in files.file:
        for message in file.message_type:
            yield from _fields(f"{file.package}.{message.name}", message)
        yield from _choices(file)
        for service in file.service:
            for call in service.method:
                streams = call.client_streaming, call.server_streaming
                name = f"{file.package}.{service.name}/{call.name}"
                yield name, f"{call.input_type} -> {call.output_type}, streaming {streams}"


def _fields(name: str, message: DescriptorProto) -> Iterator[tuple[str, str]]:
    yield name, "a message"
    for field in message.field:
        kind = field.type_name or FieldDescriptorProto.Type.Name(field.type)
        label = FieldDescriptorProto.Label.Name(field.label)
        presence = " with presence" if field.HasField("oneof_index") else ""
        yield f"{name}.{field.name}", f"{label} {kind} = {field.number}{presence}"


def _choices(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    for choice in file.enum_type:
        for value in choice.value:
            yield f"{file.package}.{choice.name}.{value.name}", str(value.number)
