"""Commands of README and the pages of docs/: each fits the command line; those marked ``run`` run as they stand."""

import os
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from documented import PAGES, ROOT, Block, Command, blocks_of, commands_of

from vaebench.cli import main as command_line
from vaebench.core import registry

SHELL = [block for page in PAGES for block in blocks_of(page) if block.language == "sh"]
PROGRAMS = [block for page in PAGES for block in blocks_of(page) if block.language == "python"]
API = ROOT / "docs" / "api.md"
RUN = sorted({block.page for block in [*SHELL, *PROGRAMS] if block.runs} - {API})


@pytest.mark.parametrize("block", [*SHELL, *PROGRAMS], ids=str)
def test_a_block_says_whether_it_runs(block):
    said = "run, 'not run: REASON' or 'file: NAME'"
    assert block.runs or block.reason or block.file, f"{block}: say on the line before it, in a comment, {said}"


@pytest.fixture
def parsed(cli, monkeypatch) -> Callable[[list[str]], Any]:
    """Parse a command as ``vaebench`` does, and do nothing."""
    app = typer.main.get_command(command_line.app)

    def silence(command: Any) -> None:
        for part in getattr(command, "commands", {}).values():
            silence(part)
        if not getattr(command, "commands", {}):
            command.callback = lambda **_: None

    silence(app)
    monkeypatch.setattr(command_line, "app", lambda words, standalone_mode: app(words, standalone_mode=standalone_mode))
    return cli


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_fit_the_command_line(page, parsed):
    shown = [block for block in blocks_of(page) if block.language == "sh"]
    for block in shown:
        for command in commands_of(block.text):
            if command.of_vaebench is not None:
                answer = parsed(list(command.of_vaebench))
                assert answer.code == 0, f"{block}: vaebench {' '.join(command.of_vaebench)}: {answer.err}"


def test_a_command_that_does_not_fit_is_found(parsed):
    assert parsed(["train", "vae-digits", "--stepz", "20"]).code == 2
    assert parsed(["suite", "runn", "digits"]).code == 2


def test_commands_are_split_as_a_shell_does():
    text = "cp -r a b && VAEBENCH_RUNS=b vaebench evaluate --all \\\n    --out c  # exit code 3\necho x >> y\n"
    assert list(commands_of(text)) == [
        Command(("cp", "-r", "a", "b"), {}, 3),
        Command(("vaebench", "evaluate", "--all", "--out", "c"), {"VAEBENCH_RUNS": "b"}, 3),
        Command(("echo", "x"), {}, 0),
    ]


class Shell:
    """Runs blocks in a folder: commands of vaebench in this process, which spares the seconds of importing torch."""

    def __init__(self, folder: Path, cli: Callable[[list[str]], Any], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.cli, self.monkeypatch = folder, cli, monkeypatch
        self.names: dict[str, Any] = {}

    def write(self, block: Block) -> None:
        path = self.folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")

    def run(self, block: Block) -> None:
        if block.language == "python":
            exec(compile(block.text, str(block), "exec"), self.names)
            return
        for command in commands_of(block.text):
            with self.monkeypatch.context() as patch:
                for name, value in command.environment.items():
                    patch.setenv(name, value)
                code, said = self._answer(command)
            assert code == command.code, f"{block}: {' '.join(command.words)} ended with {code}: {said}"

    def _answer(self, command: Command) -> tuple[int, str]:
        if command.of_vaebench is not None:
            answer = self.cli(list(command.of_vaebench))
            return answer.code, answer.out + answer.err
        if command.words == ("pip", "install", "."):
            return self._install()
        if command.words[0] == "python":
            runpy.run_path(command.words[1], run_name="__main__")
            return 0, ""
        done = subprocess.run(command.words, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    def _install(self) -> tuple[int, str]:
        """Do what an installation leaves: modules on the path, and the table of entry points."""
        project = tomllib.loads((self.folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        info = self.folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir()
        about = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        (info / "METADATA").write_text(f"{about}Summary: {project['description']}\n")
        lines = []
        for group, points in project["entry-points"].items():
            lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
        (info / "entry_points.txt").write_text("\n".join(lines))
        forget_packages()
        return 0, ""


def forget_packages() -> None:
    registry._entry_points_of.cache_clear()
    registry.installed.cache_clear()


@pytest.fixture
def shell(cli, tmp_path, monkeypatch):
    """A shell in an empty folder, whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("vaebench.evaluation.evaluate.GALLERY_SAMPLES", 2)
    yield Shell(tmp_path, cli, monkeypatch)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
    forget_packages()


def run_page(page: Path, shell: Shell) -> None:
    for block in blocks_of(page):
        if block.file:
            shell.write(block)
        elif block.runs:
            shell.run(block)


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_what_a_page_runs_runs(page, shell):
    run_page(page, shell)


def test_the_api_does_what_stands_there(shell, tmp_path):
    run_page(API, shell)
    assert (tmp_path / "intervals.png").stat().st_size > 1000
    assert set(shell.names["found"].table["metric"]) == {"mse", "blur", "fcd"}


def test_the_workflow_is_in_order():
    yaml = pytest.importorskip("yaml", reason="comes with mkdocs")
    (block,) = [block for block in blocks_of(ROOT / "docs" / "gate.md") if block.language == "yaml"]
    workflow = yaml.safe_load(block.text)
    ran = [step["run"] for step in workflow["jobs"]["gate"]["steps"] if "run" in step]
    begin = [" ".join(line.split()[:2]) for line in ran[:3]]
    assert begin == ["pip install", "vaebench train", "vaebench evaluate"]
    assert "git+https://" in ran[0] and "|| code=$?" in ran[3]
    (python,) = [step["with"] for step in workflow["jobs"]["gate"]["steps"] if "setup-python" in step.get("uses", "")]
    # with a cache setup-python fails where there is no requirements.txt: the repository has mine.py and accepted.csv
    assert python["cache-dependency-path"] == ".github/workflows/quality.yml"


@pytest.mark.parametrize(("code", "writes"), [(0, True), (1, True), (2, False), (3, True)])
def test_the_workflow_s_gate_ends_with_the_code_of_check(tmp_path, code, writes):
    """As the runner does it, by bash -e; ``check`` stands in for itself, and writes no summary where it ends with 2."""
    yaml = pytest.importorskip("yaml", reason="comes with mkdocs")
    (block,) = [block for block in blocks_of(ROOT / "docs" / "gate.md") if block.language == "yaml"]
    (gate,) = [step for step in yaml.safe_load(block.text)["jobs"]["gate"]["steps"] if step.get("id") == "gate"]
    check = tmp_path / "vaebench"
    check.write_text(f"#!/bin/sh\n{'echo said > gate.md' if writes else ':'}\nexit {code}\n")
    check.chmod(0o755)
    summary = tmp_path / "summary"
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "GITHUB_STEP_SUMMARY": str(summary)}
    ran = subprocess.run(["bash", "-e", "-c", gate["run"]], cwd=tmp_path, env=env, check=False, capture_output=True)
    assert (ran.returncode, ran.stderr, summary.exists()) == (code, b"", writes)


def test_the_workflow_s_commands_fit_the_command_line(parsed):
    """Of each line that starts vaebench; a line that goes on is one."""
    (block,) = [block for block in blocks_of(ROOT / "docs" / "gate.md") if block.language == "yaml"]
    text = re.sub(r"^ *(?:- run: )?", "", block.text, flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.startswith("vaebench ")]
    assert len(lines) >= 3
    for line in lines:
        for command in commands_of(line):
            if command.of_vaebench is not None:
                answer = parsed(list(command.of_vaebench))
                assert answer.code == 0, f"{line}: {answer.err}"
