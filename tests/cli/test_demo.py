"""``dropkit demo`` as a user runs it."""

import html
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

QUICK = ("--steps", "8", "--replicates", "2", "--workers", "1")


@pytest.fixture
def messages(tmp_path: Path) -> Path:
    """A user's own data: two topics that one word tells apart."""
    path = tmp_path / "messages.csv"
    lines = [f"{word} number {k},{word}" for word in ("red", "blue") for k in range(20)]
    path.write_text("text,label\n" + "\n".join(lines), encoding="utf-8")
    return path


def test_demo_ends_with_table_verdict_and_report(dropkit, messages: Path, tmp_path: Path) -> None:
    """One command, from a CSV file to the two reports."""
    done = dropkit("demo", "--data", messages, *QUICK, cwd=tmp_path)
    assert (0, "") == (done.returncode, done.stderr)
    for arm in ("no dropout", "dropout 0.5", "weight decay", "dropout 0.3 + weight decay"):
        assert arm in done.stdout
    assert "2 paired replicates" in done.stdout
    assert "dropkit-report.html" in done.stdout
    report = json.loads((tmp_path / "dropkit-report.json").read_text(encoding="utf-8"))
    assert (2, 12) == (report["n_complete"], len(report["trials"]))
    page = html.unescape((tmp_path / "dropkit-report.html").read_text(encoding="utf-8"))
    for reason in report["verdict"]["rests_on"]:
        assert reason in page


def test_ctrl_c_says_what_was_finished(messages: Path, tmp_path: Path) -> None:
    """An interrupted demo ends with the replicates that are whole, and status 130."""
    command = [sys.executable, "-u", "-m", "dropkit", "demo", "--data", str(messages)]
    running = subprocess.Popen(
        [*command, "--steps", "20", "--replicates", "500", "--workers", "1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "120"},
        start_new_session=True,
    )
    assert running.stdout is not None
    for line in running.stdout:
        if line.startswith("6 of"):  # one worker: the first replicate is whole
            break
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to all its processes
    out, errors = running.communicate(timeout=60)
    assert (130, "") == (running.returncode, errors)
    assert "Stopped: " in out
    assert "of 500 replicates in whole." in out
    report = json.loads((tmp_path / "dropkit-report.json").read_text(encoding="utf-8"))
    assert report["was_stopped"]
    assert report["n_complete"] >= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "none.csv"), "dropkit: `none.csv` does not exist.\n"),
        (("--out", "nowhere"), "dropkit: `--out` must be a folder that exists; got 'nowhere'.\n"),
    ],
)
def test_wrong_input_is_one_line(dropkit, arguments, message, tmp_path: Path) -> None:
    """What the user did wrong is said in a line on stderr, with status 2 and no file written."""
    done = dropkit("demo", *arguments, cwd=tmp_path)
    assert (2, message, "") == (done.returncode, done.stderr, done.stdout)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [("demo", "--replicates", "0"), ("demo", "x"), ("dmeo",)])
def test_wrong_usage_has_status_2(dropkit, arguments, tmp_path: Path) -> None:
    """No traceback for a wrong option, argument or command."""
    done = dropkit(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_help_names_the_commands(dropkit, tmp_path: Path) -> None:
    """A newcomer reads what there is and where to begin."""
    done = dropkit("--help", cwd=tmp_path)
    assert done.returncode == 0
    for said in ("demo", "doctor", "Begin with: dropkit demo"):
        assert said in done.stdout


def test_doctor_tells_where_the_core_is(dropkit, tmp_path: Path) -> None:
    """Versions, instruction set, threads, the library's path; and why there is none."""
    done = dropkit("doctor", cwd=tmp_path)
    assert done.returncode == 0
    for said in ("dropkit", "torch", "threads", "libdropkit_core", "in use", "agree"):
        assert said in done.stdout


def test_doctor_tells_why_there_is_no_core(run_python) -> None:
    """The slow twin is named, with the reason."""
    script = "import sys; sys.argv = ['dropkit', 'doctor']; import dropkit.cli; dropkit.cli.main()"
    done = run_python(script, DROPKIT_ISA="reference", COLUMNS="120")
    assert done.returncode == 0
    assert "not in use: DROPKIT_ISA=reference asks for the slow twin." in done.stdout
