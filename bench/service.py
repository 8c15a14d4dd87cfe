"""The example service under load, on the loopback interface: what an answer costs.

    python bench/service.py --requests 400 --clients 4

Starts ``examples/service/app.py`` with 16 sub-networks an answer and with none, asks it in rounds
that take turns, then sends what no service should be sent. Everything is bounded, and the servers
are stopped at the end. Needs ``pip install 'dropkit[demo,serving]' httpx``.
"""

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from dropkit.demo.questions import chatbot_questions

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"


@contextlib.contextmanager
def service(folder: Path, samples: int) -> Iterator[str]:
    """Start it on a free port; its address; it ends with the block."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(ROOT / "examples/service/app.py")]
    options = {"--folder": folder, "--samples": samples, "--port": port, "--repeat": 0.05}
    server = subprocess.Popen(
        [*command, *(str(part) for pair in options.items() for part in pair)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    address = f"http://{HOST}:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{address}/health").status_code == 200:
                    break
            if server.poll() is not None:
                sys.exit("the service did not start")
            time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=20)


def ask(address: str, texts: list[str], clients: int) -> tuple[list[float], list[dict], float]:
    """Each text once, from `clients` threads: seconds of each, answers, and seconds in all."""
    seconds: list[float] = []
    answers: list[dict] = []
    lock, waiting = threading.Lock(), iter(texts)

    def client() -> None:
        with httpx.Client(base_url=address, timeout=30) as connection:
            while True:
                with lock:
                    text = next(waiting, None)
                if text is None:
                    return
                begin = time.perf_counter()
                response = connection.post("/answer", json={"text": text})
                took = time.perf_counter() - begin
                response.raise_for_status()
                with lock:
                    seconds.append(took)
                    answers.append(response.json())

    begin = time.perf_counter()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds, answers, time.perf_counter() - begin


def misuse(address: str) -> list[tuple[str, int]]:
    """What no service should be sent, and the status that it answers with."""
    json_type = {"content-type": "application/json"}
    cases = {
        "empty text": {"json": {"text": ""}},
        "text of 501 characters": {"json": {"text": "a" * 501}},
        "no text": {"json": {}},
        "text is a number": {"json": {"text": 3}},
        "no JSON": {"content": b"{", "headers": json_type},
        "no UTF-8": {"content": b'{"text": "\xff"}', "headers": json_type},
        "20 kB": {"content": b"x" * 20_000, "headers": json_type},
        "deep JSON": {"content": b"[" * 8_000, "headers": json_type},
    }
    found = [
        (name, httpx.post(f"{address}/answer", timeout=30, **case).status_code)
        for name, case in cases.items()
    ]
    found.append(
        ("then a question", httpx.post(f"{address}/answer", json={"text": "hi"}).status_code)
    )
    return found


def _row(name: str, seconds: list[float], n_per_s: list[float]) -> str:
    cuts = statistics.quantiles(seconds, n=100)
    numbers = [statistics.median(n_per_s), *(1000 * cuts[at - 1] for at in (50, 95, 99))]
    return f"{name:<18}" + "".join(f"{number:>12.1f}" for number in numbers)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=400, help="a round; at most 5,000")
    parser.add_argument("--clients", type=int, default=4, help="at most 32")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    n, clients = min(given.requests, 5000), min(given.clients, 32)
    texts = (list(chatbot_questions().texts) * (n // 600 + 1))[:n]
    cases = {"no sub-networks": 0, "16 sub-networks": 16}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        addresses = {
            name: stack.enter_context(service(folder / str(samples), samples))
            for name, samples in cases.items()
        }
        found: dict[str, tuple[list[float], list[dict], list[float]]] = {}
        for name, address in addresses.items():
            ask(address, texts[:20], 1)  # warm
            found[name] = ([], [], [])
        for _ in range(given.rounds):
            for name, address in addresses.items():
                seconds, answers, wall_s = ask(address, texts, clients)
                found[name][0].extend(seconds)
                found[name][1].extend(answers)
                found[name][2].append(n / wall_s)
        print(f"{n} requests a round, {given.rounds} rounds, {clients} clients; latency in ms\n")
        print(
            f"{'':<18}" + "".join(f"{head:>12}" for head in ("answers/s", "median", "95 %", "99 %"))
        )
        for name, (seconds, _, n_per_s) in found.items():
            print(_row(name, seconds, n_per_s))
        answers = found["16 sub-networks"][1]
        shares = [answer["handed_over"] for answer in answers]
        print(
            f"\nhanded over {statistics.mean(shares):.2f}, mean disagreement "
            f"{statistics.mean(answer['disagreement'] for answer in answers):.2f}"
        )
        metrics = httpx.get(f"{addresses['16 sub-networks']}/metrics").text
        for line in metrics.splitlines():
            if line.startswith(("dropkit_repeats_total{", "dropkit_alarm{")):
                print(line)
        print()
        for name, status in misuse(addresses["16 sub-networks"]):
            print(f"{name:<24}{status}")
    print("\n" + json.dumps({"cores": os.cpu_count(), "python": sys.version.split()[0]}))


if __name__ == "__main__":
    main()
