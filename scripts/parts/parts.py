#!/usr/bin/env python3
"""Runs what install.sh has fetched: a Kafka broker and a schema registry.

parts.py prepare PARTS   formats a data folder and archives the classes of both, as install.sh asks
parts.py run PARTS       both on their usual ports of loopback, until Ctrl-C; nothing is kept
"""

import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SHARED = Path(__file__).resolve().parent.parent.parent / "ops/kafka/broker.properties"
UP_SECONDS_MAX = 120
# Writing the archive is part of it.
STOP_SECONDS_MAX = 120
# As the tests of the harness start them.
QUICK = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
QUIET = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
# Of the formatted folder; each broker of the harness writes one of its own over it.
CLUSTER_ID = "AAAAAAAAAAAAAAAAAAAAAA"
# Under which the registry answers as Confluent's does.
CONFLUENT = "/apis/ccompat/v7"


class Parts:
    def __init__(self, folder: Path):
        self.kafka, self.registry = folder / "kafka", folder / "registry"

    def broker(self, folder: Path, port: int, controller: int, *flags: str) -> subprocess.Popen:
        """A broker with its data and its log in `folder`."""
        settings = settings_file(folder, port, controller)
        classpath = (self.kafka / "classpath").read_text()
        return java(folder, [
            *QUICK, *QUIET, "-Xmx256m", *flags, "-cp", classpath, "kafka.Kafka", str(settings),
        ])

    def tool(self, folder: Path, main: str, *arguments: str, flags=(), stdin="") -> str:
        """Runs one of Kafka's own tools to its end, and gives what it prints."""
        classpath = (self.kafka / "classpath").read_text()
        done = subprocess.run(
            ["java", *QUICK, *QUIET, *flags, "-cp", classpath, main, *arguments],
            cwd=folder, input=stdin, capture_output=True, text=True, timeout=UP_SECONDS_MAX,
        )
        if done.returncode:
            sys.exit(f"{main} {' '.join(arguments)} failed:\n{done.stderr}")
        return done.stdout

    def schema_registry(self, folder: Path, port: int, *flags: str) -> subprocess.Popen:
        """A registry with its log in `folder`. What it knows is in its memory."""
        [jar] = (self.registry / "app").glob("*-runner.jar")
        return java(folder, [
            *QUICK, "-Xmx128m", f"-Djava.io.tmpdir={folder}", *flags,
            "-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={port}", "-jar", str(jar),
        ])


def settings_file(folder: Path, port: int, controller: int) -> Path:
    """What the brokers share, and what this one has for itself."""
    own = {
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "log.dirs": f"{folder}/data",
        "log.cleaner.dedupe.buffer.size": "2097152",
    }
    path = folder / "server.properties"
    path.write_text(SHARED.read_text() + "".join(f"{key}={own[key]}\n" for key in own))
    return path


def java(folder: Path, arguments: list[str]) -> subprocess.Popen:
    with open(folder / "log", "ab") as log:
        return subprocess.Popen(
            ["java", *arguments], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )


def wait_until_up(process: subprocess.Popen, folder: Path, is_up) -> None:
    deadline = time.monotonic() + UP_SECONDS_MAX
    while not is_up():
        if process.poll() is not None or time.monotonic() > deadline:
            tail = (folder / "log").read_text(errors="replace").splitlines()[-30:]
            raise SystemExit("\n".join([f"{process.args[-1]} did not come up:", *tail]))
        time.sleep(0.1)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def stop(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def ask(port: int, method: str, path: str, body=None) -> int | None:
    """The status of the registry's answer; None if there was none."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{CONFLUENT}{path}",
        method=method,
        data=json.dumps(body).encode() if body else None,
        headers={"Content-Type": "application/vnd.schemaregistry.v1+json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code
    except OSError:
        return None


def be_strict(port: int) -> bool:
    """Refuses what is not backward compatible, as Confluent's registry does unless told otherwise;
    False while nobody answers."""
    return ask(port, "PUT", "/config", {"compatibility": "BACKWARD"}) == 200


def prepare(parts: Parts) -> None:
    # In a fixed order: an archive is refused where the class path is another.
    jars = sorted(str(jar) for jar in (parts.kafka / "lib").glob("*.jar"))
    (parts.kafka / "classpath").write_text(":".join(jars))
    with tempfile.TemporaryDirectory(prefix="k2-parts-") as folder:
        format_folder(parts, Path(folder))
    # Most of the time goes by while one thread of each writes its archive.
    with ThreadPoolExecutor() as both:
        for done in [both.submit(archive_kafka, parts), both.submit(archive_registry, parts)]:
            done.result()


def format_folder(parts: Parts, folder: Path) -> None:
    settings = settings_file(folder, 1, 2)
    parts.tool(folder, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(settings))
    shutil.rmtree(parts.kafka / "formatted", ignore_errors=True)
    shutil.copytree(folder / "data", parts.kafka / "formatted")


def archive_kafka(parts: Parts) -> None:
    """Archives the classes that a broker has loaded when messages went through it, and those that
    its tools have."""
    with tempfile.TemporaryDirectory(prefix="k2-parts-") as name:
        folder = Path(name)
        shutil.copytree(parts.kafka / "formatted", folder / "data")
        port, controller = free_ports(2)
        flag = archived_at_exit(parts.kafka / "broker.jsa")
        broker = parts.broker(folder, port, controller, flag)
        try:
            wait_until_up(broker, folder, lambda: listens(port))
            at = ("--bootstrap-server", f"127.0.0.1:{port}", "--topic", "warm")
            tools = "org.apache.kafka.tools"
            parts.tool(folder, f"{tools}.TopicCommand", *at, "--create", "--partitions", "2")
            parts.tool(folder, f"{tools}.ConsoleProducer", *at, stdin="one\ntwo\n")
            flag = archived_at_exit(parts.kafka / "tools.jsa")
            consume = ("--from-beginning", "--max-messages", "2", "--timeout-ms", "60000")
            consumer = f"{tools}.consumer.ConsoleConsumer"
            assert "two" in parts.tool(folder, consumer, *at, *consume, flags=[flag])
        finally:
            stop(broker)


def archive_registry(parts: Parts) -> None:
    with tempfile.TemporaryDirectory(prefix="k2-parts-") as name:
        folder = Path(name)
        [port] = free_ports(1)
        flag = archived_at_exit(parts.registry / "registry.jsa")
        registry = parts.schema_registry(folder, port, flag)
        try:
            wait_until_up(registry, folder, lambda: be_strict(port))
            for kind, status in (("long", 200), ("string", 409)):
                schema = {"schema": json.dumps({"type": kind})}
                answer = ask(port, "POST", "/subjects/warm-value/versions", schema)
                assert answer == status, f"{kind}: {answer}"
        finally:
            stop(registry)


def archived_at_exit(path: Path) -> str:
    path.unlink(missing_ok=True)
    return f"-XX:ArchiveClassesAtExit={path}"


def free_ports(count: int) -> list[int]:
    # Open at once, so that they differ.
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def run(parts: Parts) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # A shell that runs this in the background without job control has it ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="k2-parts-") as name:
        broker_folder, registry_folder = Path(name) / "broker", Path(name) / "registry"
        registry_folder.mkdir()
        shutil.copytree(parts.kafka / "formatted", broker_folder / "data")
        archive = "-XX:SharedArchiveFile="
        broker = parts.broker(broker_folder, 9092, 9093, f"{archive}{parts.kafka}/broker.jsa")
        registry = parts.schema_registry(
            registry_folder, 8081, f"{archive}{parts.registry}/registry.jsa"
        )
        try:
            wait_until_up(broker, broker_folder, lambda: listens(9092))
            wait_until_up(registry, registry_folder, lambda: be_strict(8081))
            print(f"broker    127.0.0.1:9092\nregistry  http://127.0.0.1:8081{CONFLUENT}")
            print("Ctrl-C stops both and forgets everything", flush=True)
            broker.wait()
        except KeyboardInterrupt:
            pass
        finally:
            stop(broker)
            stop(registry)


COMMANDS = {"prepare": prepare, "run": run}

if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in COMMANDS:
        sys.exit(__doc__)
    COMMANDS[sys.argv[1]](Parts(Path(sys.argv[2]).resolve()))
