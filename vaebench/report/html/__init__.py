"""Write ``index.html``: one dataset's report as a page that needs nothing but itself."""

from vaebench.report.html.document import html_report

__all__ = ["html_report"]
