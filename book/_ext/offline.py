"""A page asks the network for nothing: drop the Thebe loader, refuse every other remote script and style."""

from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


def keep_local(app: Sphinx, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Strip the loader from one page, and warn of what else would be fetched."""
    context["script_files"] = [s for s in context.get("script_files", []) if not _is_thebe(s)]
    for kind in ("script_files", "css_files"):
        for name in map(_name, context.get(kind, [])):
            if name.startswith(("http:", "https:", "//")):
                logger.warning(f"{pagename} would fetch {name}; keep a local copy", type="offline")


def _name(asset) -> str:
    return str(getattr(asset, "filename", asset) or "")


def _is_thebe(script) -> bool:
    body = (getattr(script, "attributes", None) or {}).get("body") or ""
    return "THEBE_JS_URL" in body or _name(script).endswith("sphinx-thebe.js")


def setup(app: Sphinx) -> dict:
    """Register with Sphinx, after every extension that adds scripts."""
    app.connect("html-page-context", keep_local, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
