"""A headless Chromium of Debian's packages, for the tests of pages.

python -m tests.browser --packages      # which packages it needs
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGES = ("chromium", "chromium-driver")
PROGRAMS = ("chromium", "chromedriver")
PATIENCE, ATTEMPTS = 15.0, 5
"""Seconds for a page to be there, and how often it is opened until it is."""

LOADED = "return document.readyState === 'complete' ? location.href : ''"
"""What returns the address of the page when its scripts have run."""


def missing() -> str:
    """Why this machine can't run it; empty where it can."""
    if find_spec("selenium") is None:
        return "A browser's tests need selenium: make test installs it"
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        packages = " ".join(PACKAGES)
        return f"A browser's tests need {', '.join(absent)}: apt-get install {packages}"
    return ""


class Browser:
    """A browser that is open."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, page: Path, *, width: int = 1200, dark: bool = False) -> None:
        """Opens a page in a window of this width, and waits until it is there."""
        self._send("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._send("Emulation.setEmulatedMedia", features=[scheme])
        address = page.absolute().as_uri()
        for _ in range(ATTEMPTS):
            # On a busy machine a navigation gets lost, so that the page of before stays, or another process of the
            # tests is just making this page again.
            self._went_to(address)
            if self._shows(address):
                return
        raise AssertionError(f"{address} doesn't open; the browser shows {self.run('return location.href')}")

    def _went_to(self, address: str) -> None:
        from selenium.common.exceptions import WebDriverException

        with suppress(WebDriverException):
            self.driver.get(address)

    def _shows(self, address: str) -> bool:
        """Returns whether a page is there, its scripts included, within `PATIENCE`."""
        end = time.monotonic() + PATIENCE
        while self.run(LOADED) != address:
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def _send(self, command: str, **arguments: Any) -> None:
        self.driver.execute_cdp_cmd(command, arguments)

    def run(self, script: str, *arguments: Any) -> Any:
        """Runs JavaScript in the page, and returns what it returns."""
        return self.driver.execute_script(script, *arguments)

    def said(self) -> list[str]:
        """The messages of the console since the last call, errors of the page's policy among them."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requested(self) -> list[str]:
        """The addresses that the browser has asked for since the last call, without data in the page itself."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [url for event in sent if not (url := event["request"]["url"]).startswith("data:")]

    def print(self) -> str:
        """The page as a PDF, in base64."""
        return self.driver.print_page()


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser for the block."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "hide-scrollbars"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.implicitly_wait(10)  # seconds until an element is missing
    try:
        yield Browser(driver)
    finally:
        driver.quit()


if __name__ == "__main__":
    if sys.argv[1:] == ["--packages"]:
        print(*PACKAGES)
