#!/usr/bin/env python3
"""Checks docker-compose.yml, without Docker.

compose.py                       says what is wrong, if anything, with exit code 1
compose.py environment SERVICE   prints the variables of a service, NAME=VALUE a line

The YAML is read strictly: no key twice, no flow style, all values text.
"""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import strictyaml

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "docker-compose.yml"
BROKER = ROOT / "ops/kafka/broker.properties"
POM = ROOT / "scripts/parts/pom.xml"
# Where the image of Kafka looks for settings.
BROKER_MOUNTED = "/mnt/shared/config/server.properties:ro"
# Of the image itself, and none of the broker's properties.
NO_PROPERTIES = {"KAFKA_HEAP_OPTS"}
KEYS = {
    "image", "build", "command", "environment", "volumes", "ports", "depends_on", "healthcheck",
    "restart", "stop_grace_period",
}
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|CREDENTIAL", re.IGNORECASE)


def main() -> None:
    compose = strictyaml.load(FILE.read_text(), label=FILE.name).data
    if sys.argv[1:2] == ["environment"]:
        for name, value in compose["services"][sys.argv[2]]["environment"].items():
            print(f"{name}={value}")
        return
    problems = [
        *of_each_service(compose),
        *of_volumes(compose),
        *of_broker(compose["services"]["kafka"]),
        *of_versions(compose["services"]),
    ]
    if problems:
        sys.exit("\n".join(f"{FILE.name}: {problem}" for problem in problems))


def of_each_service(compose: dict):
    if unknown := compose.keys() - {"name", "services", "volumes"}:
        yield f"{unknown} is no part of the file"
    services = compose["services"]
    for name, service in services.items():
        if unknown := service.keys() - KEYS:
            yield f"{name} has {unknown}, which nobody has checked"
        if not re.search(r":\d+\.\d+\.\d+[\w.]*$", service["image"]):
            yield f"{name} has no fixed version: {service['image']}"
        if not {"test", "interval", "timeout", "retries"} <= service.get("healthcheck", {}).keys():
            yield f"{name} has no whole health check"
        for port in service.get("ports", []):
            if not re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port):
                yield f"{name} is reachable from other machines: {port}"
        for other, how in service.get("depends_on", {}).items():
            if other not in services or how != {"condition": "service_healthy"}:
                yield f"{name} does not wait until {other} is healthy"
        for variable, value in service.get("environment", {}).items():
            if SECRET.search(variable) and not re.fullmatch(r"\$\{\w+:\?.*\}", value):
                yield f"{name} has a secret that the user did not choose: {variable}"
        build = service.get("build")
        if build and not (ROOT / build["context"] / build["dockerfile"]).is_file():
            yield f"{name} is built from a file that is not there: {build}"


def of_volumes(compose: dict):
    used = set()
    for name, service in compose["services"].items():
        for source in (volume.split(":")[0] for volume in service.get("volumes", [])):
            if not source.startswith("."):
                used.add(source)
            elif not (ROOT / source).exists():
                yield f"{name} mounts {source}, which is not there"
    if differ := used ^ compose["volumes"].keys():
        yield f"used or declared, but not both: {differ}"


def of_broker(kafka: dict):
    """The tests' brokers are told the same: what both need stands in one file."""
    if f"./{BROKER.relative_to(ROOT)}:{BROKER_MOUNTED}" not in kafka["volumes"]:
        yield f"kafka does not read {BROKER.relative_to(ROOT)}"
    lines = [line for line in BROKER.read_text().splitlines() if line and line[0] != "#"]
    shared = {line.split("=")[0] for line in lines}
    variables = [name for name in kafka["environment"] if name not in NO_PROPERTIES]
    for variable in variables:
        key = variable.removeprefix("KAFKA_").replace("_", ".").lower()
        if variable.startswith("KAFKA_") and key in shared:
            yield f"kafka says {key} again: it stands in {BROKER.relative_to(ROOT)}"


def of_versions(services: dict):
    """What the tests run is what the user runs."""
    pom = ElementTree.parse(POM)
    for name in ("kafka", "registry"):
        version = pom.find(f".//{{*}}{name}.version").text
        if not services[name]["image"].endswith(f":{version}"):
            yield f"{name} is {services[name]['image']}, and the tests run {version}"


main()
