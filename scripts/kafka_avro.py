#!/usr/bin/env python3
"""A client of Kafka and of the schema registry that is not K2, with Avro in Confluent's framing.

kafka_avro.py produce --brokers ADDR --registry URL --topic T --schema FILE [--key FIELD]
    sends each line of standard input, a JSON object, as a record of the schema in FILE, which it
    registers; ends when all are delivered
kafka_avro.py consume --brokers ADDR --registry URL --topic T --count N
    prints the first N messages of the topic, each as a JSON object in a line: partition, offset,
    timestamp (ms), key, schema_id, value

A decimal is text in JSON, exact to the last digit; other bytes are hexadecimal.
"""

import argparse
import json
import sys
import time
from decimal import Decimal, localcontext

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

SECONDS_MAX = 60
# More digits than a decimal(38,12) has.
DIGITS = 76


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("produce", "consume"):
        command = commands.add_parser(name)
        for flag in ("--brokers", "--registry", "--topic"):
            command.add_argument(flag, required=True)
        if name == "produce":
            command.add_argument("--schema", required=True)
            command.add_argument("--key", help="the field whose text is the message's key")
        else:
            command.add_argument("--count", type=int, required=True)
    arguments = parser.parse_args()
    registry = SchemaRegistryClient({"url": arguments.registry})
    with localcontext() as context:
        context.prec = DIGITS
        {"produce": produce, "consume": consume}[arguments.command](arguments, registry)


def produce(arguments: argparse.Namespace, registry: SchemaRegistryClient) -> None:
    with open(arguments.schema) as file:
        text = file.read()
    schema = json.loads(text)
    serialize = AvroSerializer(registry, text)
    context = SerializationContext(arguments.topic, MessageField.VALUE)
    producer = Producer({"bootstrap.servers": arguments.brokers, "enable.idempotence": True})
    failures = []
    for line in filter(None, map(str.strip, sys.stdin)):
        record = json.loads(line)
        key = record[arguments.key].encode() if arguments.key else None
        producer.produce(
            arguments.topic,
            key=key,
            value=serialize(from_json(schema, record), context),
            on_delivery=lambda error, _: failures.append(error) if error else None,
        )
        producer.poll(0)
    left = producer.flush(SECONDS_MAX)
    if left or failures:
        sys.exit(f"could not deliver: {left} left after {SECONDS_MAX} s, failed: {failures[:3]}")


def consume(arguments: argparse.Namespace, registry: SchemaRegistryClient) -> None:
    deserialize = AvroDeserializer(registry)
    context = SerializationContext(arguments.topic, MessageField.VALUE)
    consumer = Consumer({
        "bootstrap.servers": arguments.brokers,
        # Required of every consumer; this one joins no group and stores no offsets.
        "group.id": "kafka-avro",
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
    })
    topic = consumer.list_topics(arguments.topic, timeout=SECONDS_MAX).topics[arguments.topic]
    if topic.error:
        raise KafkaException(topic.error)
    consumer.assign([TopicPartition(arguments.topic, number, 0) for number in topic.partitions])
    deadline = time.monotonic() + SECONDS_MAX
    for read in range(arguments.count):
        message = None
        while message is None:
            if time.monotonic() > deadline:
                sys.exit(f"could not read {arguments.count} messages in {SECONDS_MAX} s: {read} came")
            message = consumer.poll(0.1)
        if message.error():
            raise KafkaException(message.error())
        key, framed = message.key(), message.value()
        print(json.dumps({
            "partition": message.partition(),
            "offset": message.offset(),
            "timestamp": message.timestamp()[1],
            "key": key.decode() if key is not None else None,
            # After a zero byte, in four.
            "schema_id": int.from_bytes(framed[1:5], "big"),
            "value": deserialize(framed, context),
        }, default=to_json))
    consumer.close()


def from_json(schema: dict | list | str, value):
    """The value as the serializer takes it: texts of decimals are exact numbers."""
    if isinstance(schema, list):
        branches = [branch for branch in schema if branch != "null"]
        return None if value is None else from_json(branches[0], value)
    if not isinstance(schema, dict):
        return bytes.fromhex(value) if schema == "bytes" else value
    if schema.get("logicalType") == "decimal":
        return Decimal(value)
    match schema["type"]:
        case "record":
            fields = {field["name"]: field["type"] for field in schema["fields"]}
            return {name: from_json(fields[name], each) for name, each in value.items()}
        case "array":
            return [from_json(schema["items"], each) for each in value]
        case "map":
            return {name: from_json(schema["values"], each) for name, each in value.items()}
        case "enum" | "fixed":
            return value
        case inner:
            return from_json(inner, value)


def to_json(value) -> str:
    match value:
        case Decimal():
            return format(value, "f")
        case bytes():
            return value.hex()
    raise TypeError(f"could not say {type(value).__name__} in JSON")


main()
