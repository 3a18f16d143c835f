#!/usr/bin/env python3
"""Runs the code blocks of README.md, in order, in an empty directory.

A comment before a block, <!-- readme: WORD ... -->, says how:
  runs-on   start it, wait until the job listens (or, with `until PORT`, until something does
            there), and leave it running
  stop      (without a block) Ctrl-C for what runs, which must end in order
  skip      do not run it
  python    run it with the Python of K2_READERS
"""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UP_SECONDS_MAX = 120
STOP_SECONDS_MAX = 60
BLOCK_SECONDS_MAX = 300
PIECE = re.compile(
    r"^<!-- readme: (?P<word>[a-z-]+)(?: until (?P<port>\d+))?[^>]*-->$|^```(?P<language>sh|python)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def main() -> None:
    text = (ROOT / "README.md").read_text()
    with tempfile.TemporaryDirectory(prefix="k2-readme-") as folder:
        failed = run_all(text, Path(folder))
    if failed:
        sys.exit(f"README.md: {failed}")


def run_all(text: str, folder: Path) -> str | None:
    for name in ("start", "test", "scripts"):
        (folder / name).symlink_to(ROOT / name)
    environment = dict(os.environ)
    target = environment.setdefault("CARGO_TARGET_DIR", str(ROOT / "target"))
    (folder / "target").symlink_to(target)
    environment["PATH"] = f"{target}/release:{environment['PATH']}"
    running, word, port, ran, failed = None, None, None, 0, None
    for piece in PIECE.finditer(text):
        if piece["word"] == "stop":
            failed, running = stop(running), None
        elif piece["word"]:
            word, port = piece["word"], piece["port"]
            continue
        elif word == "skip":
            pass
        elif word == "runs-on":
            running, failed = start(piece["code"], port, folder, environment)
        else:
            python = [environment.get("K2_READERS", "python3"), "-c"]
            command = python if piece["language"] == "python" else ["bash", "-euo", "pipefail", "-c"]
            failed, ran = run([*command, piece["code"]], folder, environment), ran + 1
        word = None
        if failed:
            break
    if running:
        failed = stop(running) or failed
    return failed or (None if ran >= 5 else f"only {ran} blocks were found")


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str | None:
    print(f"\n$ {command[-1].strip()}", flush=True)
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, timeout=BLOCK_SECONDS_MAX
        )
    except subprocess.TimeoutExpired:
        return f"this block took more than {BLOCK_SECONDS_MAX} s:\n{command[-1]}"
    return f"this block failed:\n{command[-1]}" if done.returncode else None


def start(code: str, port: str | None, folder: Path, environment: dict[str, str]):
    print(f"\n$ {code.strip()} &", flush=True)
    # A group of its own, so that Ctrl-C reaches what the script became.
    process = subprocess.Popen(
        ["bash", "-euc", code],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + UP_SECONDS_MAX
    while not (listens(int(port)) if port else (folder / "k2-data" / "job.json").exists()):
        if process.poll() is not None:
            return None, f"this block ended by itself:\n{code}"
        if time.monotonic() > deadline:
            return process, f"nothing was up after {UP_SECONDS_MAX} s:\n{code}"
        time.sleep(0.1)
    # Long enough for the market to have something in it.
    time.sleep(3)
    return process, None


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def stop(process: subprocess.Popen) -> str | None:
    print("\n^C", flush=True)
    os.killpg(process.pid, signal.SIGINT)
    try:
        code = process.wait(timeout=STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return f"what ran did not end within {STOP_SECONDS_MAX} s of Ctrl-C"
    return f"what ran ended with exit code {code} after Ctrl-C" if code else None


main()
