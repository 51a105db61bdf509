"""Repairs to stock markup that screen readers stumble over."""

from sphinx.application import Sphinx


def repair(app: Sphinx, pagename: str, templatename: str, context: dict, doctree) -> None:
    """A bibliography is a list, so its entries are list items."""
    context["body"] = context.get("body", "").replace('role="doc-biblioentry"', 'role="listitem"')


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    app.connect("html-page-context", repair)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
