"""README and docs: links lead somewhere, every `make` verb and program named exists, and no loose words.

Rule: a document is checked against the tree it lies in; nothing is fetched.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from meshnet.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
VERB = re.compile(r"`(?:sudo )?(?:\w+=\S+ )*make ([a-z][a-z-]*)")
FENCED_VERB = re.compile(r"^\s*(?:sudo )?(?:\w+=\S+ )*make ([a-z][a-z-]*)", re.MULTILINE)

# Words that promise instead of state, notes to oneself, and places that exist on one machine only.
LOOSE_WORDS = re.compile(
    r"\b(TODO|FIXME|HACK|blazing|seamless(ly)?|military[- ]grade|unhackable|world[- ]class|revolutionary)\b"
    r"|(?<![\w.])/(work|home/\w+|tmp/mn)/|\bshared/",
    re.IGNORECASE,
)


def is_external(target: str) -> bool:
    return re.match(r"[a-z]+:", target) is not None


def anchors_of(text: str) -> set[str]:
    """The anchors a renderer makes of the headings in `text`."""
    headings = re.findall(r"^#+\s+(.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken_links(document: Path) -> list[str]:
    """Relative links of `document` whose file or heading does not exist."""
    broken = []
    for target in LINK.findall(document.read_text()):
        if is_external(target):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors_of(file.read_text())):
            broken.append(target)
    return broken


def make_verbs() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def named_verbs(text: str) -> set[str]:
    """Every verb written as `make verb`, in a sentence or in a fenced block."""
    fenced = "\n".join(re.findall(r"^```.*?$(.*?)^```", text, re.MULTILINE | re.DOTALL))
    return set(VERB.findall(text)) | set(FENCED_VERB.findall(fenced))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_relative_links_resolve(document: Path) -> None:
    assert broken_links(document) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_make_verb_named_exists(document: Path) -> None:
    assert named_verbs(document.read_text()) - make_verbs() == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_loose_words(document: Path) -> None:
    assert [match.group() for match in LOOSE_WORDS.finditer(document.read_text())] == []


def test_the_readme_names_the_verbs_a_newcomer_needs() -> None:
    assert {"demo", "test", "check"} <= named_verbs((ROOT / "README.md").read_text())


def test_every_command_of_the_readme_exists() -> None:
    named = set(re.findall(r"(?:^|`|sudo )meshnet ([a-z]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert named, "the README shows no command"
    assert named - set(COMMANDS) == set()


def test_every_decision_is_numbered_once_and_has_its_three_parts() -> None:
    decisions = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [path.name[:4] for path in decisions] == [f"{n:04}" for n in range(1, len(decisions) + 1)]
    for path in decisions:
        assert {"context", "decision", "consequences"} <= anchors_of(path.read_text()), path.name


def test_the_map_of_the_tree_names_every_module() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"\w+", text[text.index("## Folders") : text.index("## Imports")]))
    shipped = [path for folder in ("crypto", "gossip", "meshnet") for path in (ROOT / folder).rglob("*.py")]
    assert sorted(path.stem for path in shipped if path.stem not in named | {"__init__", "__main__"}) == []


def test_the_changelog_names_the_version_of_the_package() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


# Each check can fail


def test_a_broken_link_a_loose_word_and_a_missing_verb_are_found(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("# One heading\n[a](#one-heading) [b](#other) [c](gone.md) [d](https://example.org)\n")
    assert broken_links(document) == ["#other", "gone.md"]
    assert LOOSE_WORDS.search("a seamless TODO") and not LOOSE_WORDS.search("a plain sentence")
    assert named_verbs("`make nothing` and\n```\nsudo make more\n```\n") == {"nothing", "more"}
