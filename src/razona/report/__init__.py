"""Floor 7: the page of a run, in one HTML file that needs no network, and its curves as a picture."""

from razona.report.live import LivePage
from razona.report.page import write_page
from razona.report.picture import write_curves_png

__all__ = ["LivePage", "write_curves_png", "write_page"]
