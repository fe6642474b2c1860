"""What MkDocs does not do by itself, called by mkdocs.yml.

The pages read the same on GitHub and on the site, so they link as files of the repository do. Here

- README, CONTRIBUTING and CHANGELOG become pages of the site;
- a link to a file or folder of the repository leads to a page that shows it, for the site knows no address of it;
- the comment `api: drasclr_core.NAME`, which GitHub does not show, becomes the documentation of that name;
- links to other sites are looked at, not followed;
- the foot of every page names the version.

A link that leads nowhere is left as it is, and MkDocs refuses it.
"""

import logging
import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

from drasclr_core import __version__

logger = logging.getLogger("mkdocs.hooks")

ROOT = Path(__file__).resolve().parents[2]
ROOT_PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""File of the repository's root -> page of the site."""

CODE = re.compile(r"(^(?P<fence>```+).*?^(?P=fence)$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()[^)\s]+(?=\))")
API = re.compile(r"^<!-- api: ([\w.]+) -->$", re.MULTILINE)
LANGUAGES = {".yaml": "yaml", ".cff": "yaml", ".py": "python", ".sbatch": "bash", ".smk": "python", "Makefile": "make"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Name the version at the foot of every page."""
    config.copyright = f"drasclr {__version__}"
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the repository's root, and one for every file that a page links to."""
    for name, page in ROOT_PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    pages = {repository_path(file.src_uri): file.content_string for file in files.documentation_pages()}
    for name in sorted({name for path, text in pages.items() for name in linked_files(text, path)}):
        file = File.generated(config, site_path(name), content=shown_file(name))
        file.inclusion = InclusionLevel.NOT_IN_NAV
        files.append(file)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn a page as GitHub shows it into the site's."""
    path = repository_path(page.file.src_uri)
    for link in links(markdown):
        if fault := external_fault(link):
            logger.warning("%s: the link '%s' %s", path, link, fault)
    return API.sub(r"\n::: \1\n", outside_code(markdown, lambda link: site_link(link, path)))


def repository_path(src_uri: str) -> str:
    """Return where in the repository a page of the site stands."""
    return {page: name for name, page in ROOT_PAGES.items()}.get(src_uri, f"docs/{src_uri}")


def site_path(name: str) -> str:
    """Return the page of the site, or its picture, that stands for a path of the repository."""
    if name in ROOT_PAGES:
        return ROOT_PAGES[name]
    return name.removeprefix("docs/") if in_docs(name) else f"files/{name}.md"


def in_docs(name: str) -> bool:
    """Return whether MkDocs knows a path of the repository by itself."""
    return name.startswith("docs/") and not name.startswith("docs/scripts/")


def site_link(link: str, path: str) -> str:
    """Return a link of the page at `path` of the repository as the site needs it."""
    name, anchor = target(link, path)
    if name is None or not (ROOT / name).exists():
        return link
    return posixpath.relpath(site_path(name), posixpath.dirname(site_path(path))) + anchor


def target(link: str, path: str) -> tuple[str | None, str]:
    """Return the path in the repository that a link leads to, None for another site or the same page; its anchor."""
    name, mark, anchor = link.partition("#")
    if not name or ":" in name or name.startswith("/"):
        return None, ""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), name)), mark + anchor


def linked_files(text: str, path: str) -> Iterator[str]:
    """Yield the files and folders of the repository, apart from pages, that a page links to."""
    for link in links(text):
        name, _ = target(link, path)
        if name and not in_docs(name) and name not in ROOT_PAGES and (ROOT / name).exists() and ".." not in name:
            yield name


def shown_file(name: str) -> str:
    """Return the page that shows a file, or says what is in a folder."""
    path = ROOT / name
    if path.is_dir():
        inside = sorted(child.name for child in path.iterdir() if not child.name.startswith(("_", ".")))
        return "\n".join([f"# {name}/", "", *(f"- `{child}`" for child in inside), ""])
    language = LANGUAGES.get(path.suffix) or LANGUAGES.get(path.name, "text")
    text = path.read_text(encoding="utf-8").rstrip()
    return f"# {name}\n\n````` {language}\n{text}\n`````\n"


def links(text: str) -> list[str]:
    """Return all links and pictures of a page, without those in code."""
    return LINK.findall(CODE.sub("", text))


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """Return a page with every link changed, but for those in code."""
    parts = CODE.split(text)  # prose, code, its fence (None for a word), prose, ...
    prose = [LINK.sub(lambda link: change(link[0]), part) for part in parts[::3]]
    return "".join(part for pair in zip(prose, [*parts[1::3], ""], strict=True) for part in pair)


def external_fault(link: str) -> str | None:
    """Return what is wrong with a link to another site; None if nothing is, or if it is no such link."""
    if "://" not in link:
        return None
    parts = urlsplit(link)
    if parts.scheme != "https":
        return "is not https"
    return None if re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.netloc) else "has no proper host"
