"""Let the one-page edition use every node handler that the chapter pages have (some extensions forget it)."""

from sphinx.application import Sphinx


def share_handlers(app: Sphinx) -> None:
    """Complete the handlers of ``singlehtml`` from those of ``html``."""
    if app.builder.name == "singlehtml":
        handlers = app.registry.translation_handlers
        handlers["singlehtml"] = handlers.get("html", {}) | handlers.get("singlehtml", {})


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    app.connect("builder-inited", share_handlers, priority=999)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
