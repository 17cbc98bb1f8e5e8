"""Write a picture of a run's page: `python scripts/screenshot.py runs/demo docs/images/page.png`.

It opens the run's report.html in the system's Chromium, through Playwright (pip install -e '.[dev]'). With `--phone`,
`--dark` and `--whole` it shows what the README's picture does not.
"""

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a run folder with its report.html")
    parser.add_argument("picture", type=Path, help="the PNG to write")
    parser.add_argument("--dark", action="store_true", help="in the dark colours")
    parser.add_argument("--phone", action="store_true", help="380 pixels wide")
    parser.add_argument("--whole", action="store_true", help="the whole page instead of its beginning")
    parser.add_argument("--height", type=int, default=1500, help="pixels of the page without --whole")
    asked = parser.parse_args()
    chromium = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if chromium is None:
        parser.error(f"none of {', '.join(BROWSERS)} is installed. On Debian: apt install chromium")
    page_file = asked.run / "report.html"
    if not page_file.is_file():
        parser.error(f"{page_file} is not there. Write it: razona report {asked.run}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        page = browser.new_page(
            viewport={"width": 380 if asked.phone else 1180, "height": asked.height},
            color_scheme="dark" if asked.dark else "light",
        )
        page.goto(page_file.resolve().as_uri())
        page.evaluate("window.razonaDrawn")
        page.screenshot(path=asked.picture, full_page=asked.whole)
        browser.close()
    print(f"{asked.picture} ({asked.picture.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    main()
