"""Every command on a page can be typed as it stands: its program, file, module, options and settings exist."""

import ast
import importlib.util
import re
import shlex

import nbformat
import pytest

from helpers.settings import NAMES, OTHER_VARIABLES, PRESETS
from tests.conftest import ROOT

NOTEBOOKS = [*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("notebooks/labs/*.ipynb")]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/workshop/*.md"), *ROOT.glob("notebooks/ko/**/*.md"), ROOT / "pod.yaml"]
COMMAND = re.compile(r"(?:[A-Z_]+=\S+ +)*(?:\S*/)?(?:python|bash)\d?(?: |$).*")
OUR = re.compile(r"(helpers|proofs|docs)\b")


def commands(path) -> list[str]:
    if path.suffix == ".ipynb":
        text = "\n\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown")
    else:
        text = path.read_text(encoding="utf-8")
    fenced = [line for block in re.findall(r"```\w*\n(.*?)```", text, re.S) for line in block.splitlines()]
    inline = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"```.*?```", "", text, flags=re.S))
    return [line.strip() for line in fenced + inline if COMMAND.fullmatch(line.strip())]


def fault(command: str) -> str:
    """What of `command` is not there; "" when it can be typed in the project's folder after the set-up."""
    words = shlex.split(command, comments=True)
    while words and re.match(r"[A-Z_]+=", words[0]):
        name = words.pop(0).partition("=")[0]
        if name.startswith("QLORA_") and name not in (*OTHER_VARIABLES, *(f"QLORA_{n.upper()}" for n in NAMES)):
            return name
    program, *rest = words
    if program == "bash":
        return fault_of_script(*rest)
    if rest[:1] != ["-m"]:
        return ""
    if OUR.match(rest[1]) and program != ".venv/bin/python":  # a pod's own python has none of the packages
        return program
    return fault_of_module(*rest[1:])


def fault_of_script(file: str = "", *options: str) -> str:
    if not (ROOT / file).is_file():
        return file
    script = (ROOT / file).read_text(encoding="utf-8")
    if file == "setup_kernel.sh" and options:
        unknown = [] if f"\n  {options[0]})" in script else [options[0]]
        unknown += [name for name in options[1:2] if options[0] == "--run" and name not in (*PRESETS, "[PRESET]")]
        unknown += [
            name for name in options[1:2] if options[0] == "--test" and "/" in name and not (ROOT / name).exists()
        ]
        return " ".join(unknown)
    return ""


def fault_of_module(module: str, *words: str) -> str:
    if not OUR.match(module):
        return ""
    spec = importlib.util.find_spec(module)
    if spec and spec.submodule_search_locations:
        spec = importlib.util.find_spec(f"{module}.__main__")
    if spec is None or not spec.origin:
        return module
    source = (ROOT / spec.origin).read_text(encoding="utf-8")
    unknown = [word for word in words if word.startswith("--") and f'"{word}"' not in source]
    settings = [word.partition("=")[0] for word in words if re.match(r"\w+=", word)]
    return " ".join([*unknown, *(name for name in settings if module == "helpers.runs" and name not in NAMES)])


@pytest.mark.parametrize("path", [*PAGES, *NOTEBOOKS], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_command_of_a_page_can_be_typed(path):
    assert {command: fault(command) for command in commands(path) if fault(command)} == {}


def test_no_printed_command_asks_for_a_python_without_the_packages():
    """A line of the code names the environment's own python; a docstring is printed where argparse takes it."""
    bare = re.compile(r"(?<!\.venv/bin/)\bpython3? -m (?:helpers|docs|proofs)\b.*")
    found = {}
    for path in ROOT.glob("helpers/**/*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        quiet = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        if lines := [line for text in texts if id(text) not in quiet for line in bare.findall(text.value)]:
            found[path.name] = lines
    assert found == {}


def test_what_cannot_be_typed_is_seen():
    for command, missing in (
        ("python -m helpers.runs choose x", "python"),
        (".venv/bin/python -m helpers.run choose x", "helpers.run"),
        (".venv/bin/python -m helpers.runs fork a b lora_rank=2", "lora_rank"),
        (".venv/bin/python -m helpers.workshop.board x --cvs y", "--cvs"),
        ("bash setup_kernel.sh --tests", "--tests"),
        ("bash setup_kernel.sh --run big", "big"),
        ("QLORA_LORA_RANK=2 bash setup_kernel.sh", "QLORA_LORA_RANK"),
        ("bash docs/pod.sh NAME", "docs/pod.sh"),
    ):
        assert fault(command) == missing
    assert sum(len(commands(path)) for path in (*PAGES, *NOTEBOOKS)) > 40
