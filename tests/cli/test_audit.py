"""``dropkit audit`` and ``dropkit rule`` as a user runs them."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dropkit.auditing.rules import RULES
from dropkit.cli import main

MINE = """
import torch
from torch import nn
print("noise")

class Net(nn.Module):
    def __init__(self, p=0.1):
        super().__init__()
        self.inner, self.p = nn.Linear(4, 8), p
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        return self.head(nn.functional.dropout(self.inner(x), self.p))

class Holder:
    clean = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))

leaky = Net()
batch = torch.ones(3, 4)

def make_batch():
    return {"x": torch.ones(3, 4)}

def loss(y):
    return y.sum()

def decay(model):
    return torch.optim.AdamW(model.parameters(), weight_decay=0.5)

def strong():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))

def needs(something):
    return something

def raises():
    raise ValueError("no way")
"""

Run = Callable[..., tuple[int, str, str]]
FOLDER = "[tool.dropkit.audit] of "


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Status, output and errors of a command, run beside ``mine.py``."""
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delitem(sys.modules, "mine", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        sys.modules.pop("mine", None)
        monkeypatch.setattr(sys, "argv", ["dropkit", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    yield run
    sys.modules.pop("mine", None)


LEAKY = ("audit", "mine.py:leaky", "--batch", "mine.py:batch")


def test_findings_are_status_1(run: Run) -> None:
    """The finding and its line are printed; what the user's code prints is not among them."""
    status, out, err = run(*LEAKY)
    assert (1, "noise\n") == (status, err)
    assert out.startswith("dropout  mine.py:13\n  error DRP101 dropout-in-eval\n")
    assert out.rstrip().endswith("Explained by: dropkit rule DRP101")


def test_clean_model_is_one_line_and_status_0(run: Run) -> None:
    """An attribute may lie in another object, and a module be named with dots."""
    status, out, _ = run(
        "audit", "mine:Holder.clean", "--batch", "mine:batch", "--loss", "mine:loss"
    )
    assert 0 == status
    assert 1 == len(out.splitlines())
    assert out.startswith("No findings (")


def test_functions_make_objects(run: Run) -> None:
    """A class or function without arguments that are needed is called."""
    status, out, _ = run("audit", "mine.py:Net", "--batch", "mine.py:make_batch")
    assert 1 == status
    assert "DRP101" in out


def test_fail_on(run: Run) -> None:
    """Findings below do not make the status 1, and are shown."""
    note = ("audit", "mine:strong", "--batch", "mine:batch", "--optimizer", "mine:decay")
    status, out, _ = run(*note)
    assert (0, True) == (status, "DRP602" in out)
    assert 1 == run(*note, "--fail-on", "info")[0]


def test_select_and_ignore(run: Run) -> None:
    """By code, name or family, with commas or one by one."""
    assert 1 == run(*LEAKY, "--select", "mode,DRP3")[0]
    assert 0 == run(*LEAKY, "--select", "placement", "--select", "rate")[0]
    assert 0 == run(*LEAKY, "--ignore", "dropout-in-eval")[0]


@pytest.mark.parametrize("form", ["text", "json", "sarif", "github", "html"])
def test_forms(run: Run, form: str, tmp_path: Path) -> None:
    """Each form is written to the file as it is printed."""
    status, out, _ = run(*LEAKY, "--format", form)
    assert (1, True) == (status, "DRP101" in out)
    assert (1, "") == run(*LEAKY, "--format", form, "--output", "found")[:2]
    written = (tmp_path / "found").read_text(encoding="utf-8")
    assert "DRP101" in written
    if form in ("json", "sarif"):
        json.loads(out)
        json.loads(written)


def test_settings_are_read(run: Run, tmp_path: Path) -> None:
    """``[tool.dropkit.audit]`` selects, allows with a reason, and says when to fail."""
    settings = tmp_path / "pyproject.toml"
    settings.write_text('[tool.dropkit.audit]\nignore = ["mode"]\n', encoding="utf-8")
    assert 0 == run(*LEAKY)[0]
    allow = '[[tool.dropkit.audit.allow]]\ncode = "DRP101"\nsite = "drop*"\nreason = "it samples"\n'
    settings.write_text(allow, encoding="utf-8")
    assert 0 == run(*LEAKY)[0]
    settings.write_text(allow.replace('"drop*"', '"head*"'), encoding="utf-8")
    assert 1 == run(*LEAKY)[0]
    settings.write_text('[tool.dropkit.audit]\nfail-on = "info"\n', encoding="utf-8")
    note = ("audit", "mine:strong", "--batch", "mine:batch", "--optimizer", "mine:decay")
    assert 1 == run(*note)[0]
    assert 0 == run(*note, "--fail-on", "error")[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[tool.dropkit.audit]\nselct = []",
            "there is no key 'selct'; there are allow, fail-on, ignore, select.",
        ),
        (
            '[tool.dropkit.audit]\nselect = "DRP1"',
            "`select` must be a list of texts; got 'DRP1'.",
        ),
        (
            '[tool.dropkit.audit]\nignore = ["moed"]',
            "`ignore` must name rules by code, name or family; got 'moed'. Did you mean 'mode'?",
        ),
        (
            '[tool.dropkit.audit]\nfail-on = "fatal"',
            "`fail-on` must be one of error, warning, info; got 'fatal'.",
        ),
        (
            '[[tool.dropkit.audit.allow]]\ncode = "DRP101"',
            "`allow` must have a 'reason'; got {'code': 'DRP101'}.",
        ),
        (
            '[[tool.dropkit.audit.allow]]\ncode = "DRP101"\nreason = ""',
            "`reason` must say why DRP101 is no fault at site '*'; it is empty.",
        ),
        (
            '[tool.dropkit.audit]\nallow = ["DRP101"]',
            "`allow` must be tables: [[tool.dropkit.audit.allow]].",
        ),
        ("[tool]\ndropkit = 1", "`dropkit` must be a table."),
    ],
)
def test_wrong_settings(run: Run, tmp_path: Path, text: str, message: str) -> None:
    """One sentence says what is wrong, and the user's code is not run."""
    path = tmp_path / "pyproject.toml"
    path.write_text(text, encoding="utf-8")
    status, out, err = run(*LEAKY)
    assert (2, "", f"dropkit: {FOLDER}{path}: {message}\n") == (status, out, err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mine.py:leaky",), "`--batch` must name what the model is called with; got nothing."),
        (
            ("mine.py", "--batch", "mine.py:batch"),
            "`MODEL` must be package.module:attribute or path/to/file.py:attribute; got 'mine.py'.",
        ),
        (
            ("mine.py:gone", "--batch", "mine.py:batch"),
            "`MODEL` must name an object; there is no 'gone' in 'mine.py'.",
        ),
        (("nowhere.py:x", "--batch", "mine.py:batch"), "`nowhere.py` does not exist."),
        (
            ("nowhere:x", "--batch", "mine.py:batch"),
            "`nowhere` must be a Python file or module; there is none.",
        ),
        (
            ("mine.py:needs", "--batch", "mine.py:batch"),
            "`model` must be a module or an exported model; got a function.",
        ),
        (
            ("mine.py:leaky", "--batch", "mine.py:needs"),
            "`batch` must be a tensor, a tuple of arguments, or a mapping of names to arguments; "
            "got a function.",
        ),
        (
            ("mine.py:raises", "--batch", "mine.py:batch"),
            "`mine.py` line 37 raised ValueError: no way.",
        ),
        (
            ("gone.onnx",),
            "`model` must be a file that exists; got 'gone.onnx'.",
        ),
        (
            ("mine.py:leaky", "--batch", "mine.py:batch", "--select", "moed"),
            "`select` must name rules by code, name or family; got 'moed'. Did you mean 'mode'?",
        ),
        (
            ("mine.py:leaky", "--batch", "mine.py:batch", "--epochs", "0"),
            "`epochs` must be a number above 0; got 0.0.",
        ),
        (
            ("mine.py:leaky", "--batch", "mine.py:batch", "--output", "no/where.txt"),
            "`--output` must lie in a folder that exists; got 'no/where.txt'.",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_wrong_input(run: Run, arguments: tuple[str, ...], message: str) -> None:
    """Status 2 and one sentence."""
    status, out, err = run("audit", *arguments)
    assert (2, "") == (status, out)
    assert f"dropkit: {message}" == err.removeprefix("noise\n").rstrip("\n")


def test_failed_audit_leaves_the_output_as_it_was(run: Run, tmp_path: Path) -> None:
    """No half-written file, and none where there was none."""
    (tmp_path / "found").write_text("before", encoding="utf-8")
    assert 2 == run("audit", "mine:raises", "--batch", "mine:batch", "--output", "found")[0]
    assert "before" == (tmp_path / "found").read_text(encoding="utf-8")
    assert {"found", "mine.py"} == {path.name for path in tmp_path.iterdir()} - {"__pycache__"}


def test_all_rules_are_listed(run: Run) -> None:
    """Without a model."""
    status, out, _ = run("audit", "--all-rules")
    assert 0 == status
    assert all(f"{rule.code}  {rule.name}" in out for rule in RULES)


@pytest.mark.parametrize("word", ["DRP301", "dropout-before-batch-norm"])
def test_rule_is_explained(run: Run, word: str) -> None:
    """By code or name."""
    status, out, _ = run("rule", word)
    assert 0 == status
    for text in ("DRP301 dropout-before-batch-norm", "Why it matters", "Instead", "Li et al. 2019"):
        assert text in out


def test_unknown_rule(run: Run) -> None:
    """A near one is named."""
    message = "a rule must be named by its code or name; got 'DRP999'."
    status, _, err = run("rule", "DRP999")
    assert 2 == status
    assert err.startswith(f"dropkit: {message}")


def test_help_says_that_code_is_run(run: Run) -> None:
    """Nobody is surprised by what importing does."""
    _, out, _ = run("audit", "--help")
    assert "This runs your code" in out
