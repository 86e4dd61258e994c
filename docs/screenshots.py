"""Pictures of the built pages in headless Chromium, without a network, wide and narrow, light and dark.

After the pages are built: ``python docs/screenshots.py FOLDER``. Chromium is looked for on the path, or is
the file that the environment variable CHROMIUM names. What needs a browser is checked too: equations are
rendered, and the search finds "beta".
"""

import itertools
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

SITE = pathlib.Path(__file__).resolve().parent / "_build" / "html"
PAGES = {
    "landing": "index.html",
    "method": "guide/method.html",
    "maps": "guide/maps.html",
    "models": "guide/models.html",
    "choosing": "choosing.html",
    "peers": "peers.html",
    "gallery": "gallery/index.html",
    "example": "gallery/plot_digits_pipeline.html",
    "map": "gallery/plot_map.html",
    "api": "api.html",
    "swae": "api/skswae.SWAETransformer.html",
    "results": "results/quality_defaults.html",
}
WIDTHS = (1400, 400)
THEMES = ("light", "dark")


def chromium(profile, *arguments):
    """Run Chromium with a profile folder of its own and no network, and return what it writes."""
    found = os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if found is None:
        raise SystemExit("Chromium must be on the path, or named by the environment variable CHROMIUM.")
    command = [found, "--headless", "--no-sandbox", "--hide-scrollbars", f"--user-data-dir={profile}"]
    command += ["--proxy-server=127.0.0.1:9", "--virtual-time-budget=20000"]  # a proxy that is not there
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=180)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def framed(page, width, theme, folder):
    """Write a page that shows another one in a frame: no window of Chromium is narrower than 500 pixels."""
    path = pathlib.Path(folder) / "frame.html"
    style = f"border: 0; width: {width}px; height: 1600px"
    path.write_text(
        f"<script>for (const key of ['mode', 'theme']) localStorage.setItem(key, '{theme}')</script>"
        f"<body style='margin: 0'><iframe src='{page.as_uri()}' style='{style}'>"
    )
    return path


def main(folder):
    """Check the pages and write a picture of each."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        guide = chromium(profile, "--dump-dom", (SITE / "guide" / "method.html").as_uri())
        assert guide.count("<mjx-container") > 10, "The guide's equations are not rendered."
        search = chromium(profile, "--dump-dom", (SITE / "search.html").as_uri() + "?q=beta")
        assert "guide/parameters.html" in search.split('id="search-results"')[1], (
            "The search does not find beta."
        )
        for (name, page), width, theme in itertools.product(PAGES.items(), WIDTHS, THEMES):
            path = folder / f"{name}_{width}_{theme}.png"
            frame = framed(SITE / page, width, theme, profile)
            window = f"--window-size={max(width, 500)},1600"
            chromium(profile, f"--screenshot={path}", window, frame.as_uri())
            print(path)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "screenshots"))
