"""The rules of the house that a machine can see."""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from django.conf import settings

ROOT = Path(settings.BASE_DIR)
APPS = ["opsdesk", "knowledge", "chat", "handoff", "evaluation"]  # each imports from its left only
MODULES = sorted(
    path.relative_to(ROOT)
    for app in APPS
    for path in (ROOT / app).rglob("*.py")
    if "migrations" not in path.parts
)
FORBIDDEN = {"utils", "util", "common", "helpers", "helper", "services", "service", "manager"}
LINES = 500
IMPORT = re.compile(r"""\b(?:from|import)\s*\(?\s*["'](\.{1,2}/[^"']+)["']""")


def imported(tree):
    """Top packages of every import in the tree, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").split(".")[0]


def reaches_right(path, tree):
    right = APPS[APPS.index(path.parts[0]) + 1 :]
    return sorted(set(imported(tree)) & set(right))


def blind(tree):
    """Lines that catch everything."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            names = {name.id for name in ast.walk(node.type or node) if isinstance(name, ast.Name)}
            if node.type is None or names & {"Exception", "BaseException"}:
                yield node.lineno


def test_there_is_a_house():
    assert {path.parts[0] for path in MODULES} == set(APPS)


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_module(path):
    source = (ROOT / path).read_text()
    tree = ast.parse(source)
    if path != Path("opsdesk/asgi.py"):
        assert reaches_right(path, tree) == []
    assert source.count("\n") <= LINES
    assert list(blind(tree)) == []
    assert not FORBIDDEN & {part.removesuffix(".py") for part in path.parts}


def test_the_rules_can_be_broken():
    assert reaches_right(Path("opsdesk/x.py"), ast.parse("def f():\n from chat.models import Turn"))
    assert not reaches_right(Path("chat/x.py"), ast.parse("import opsdesk, knowledge.models"))
    assert list(blind(ast.parse("try:\n a\nexcept (OSError, Exception):\n b"))) == [3]
    assert list(blind(ast.parse("try:\n a\nexcept:\n raise"))) == [3]
    assert not list(blind(ast.parse("try:\n a\nexcept OSError:\n b")))


@pytest.mark.parametrize("kind", ["style", "script"])
def test_templates_have_nothing_inline(kind):
    for template in (ROOT / "templates").rglob("*.html"):
        text = template.read_text()
        if "exports" in template.parts:
            continue  # a document that is printed, not a page
        assert f"<{kind}>" not in text, template
        assert ' style="' not in text, template
        assert " onclick=" not in text, template
        assert "javascript:" not in text, template


def lost(path, source, kept):
    """What a script imports from beside it and `kept` does not have."""
    imports = ((ROOT / path).parent / name for name in IMPORT.findall(source))
    return sorted({str(found.resolve().relative_to(ROOT)) for found in imports} - kept)


@pytest.mark.skipif(
    not shutil.which("git") or not (ROOT / ".git").exists(), reason="no checkout of git"
)
def test_scripts_import_what_git_keeps():
    listed = subprocess.check_output(["git", "ls-files", "-z", "static"], cwd=ROOT, text=True)
    kept = {name for name in listed.split("\0") if (ROOT / name).is_file()}
    scripts = [n for n in kept if n.endswith((".js", ".mjs")) and "/vendor/" not in n]
    assert scripts
    assert {n: gone for n in scripts if (gone := lost(n, (ROOT / n).read_text(), kept))} == {}


def test_a_lost_script_is_seen():
    source = """import { a } from "./a.js";\nexport * from '../b.js'; await import("./c.js");"""
    kept = {"static/x/a.js"}
    assert lost("static/x/main.js", source, kept) == ["static/b.js", "static/x/c.js"]


def test_the_readme_leads_to_every_document():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert [path.name for path in (ROOT / "docs").glob("*.md") if path.name not in readme] == []
