"""Uses the page /docs of a job as a person does, in a real Chromium, and prints what it saw.

    python3 scripts/docs_in_browser.py http://127.0.0.1:8611 [SCREENSHOT.png]

Needs chromium and chromedriver, which it drives by the WebDriver protocol itself.
"""

import base64
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--window-size=1100,1400",
]
PATIENCE_S = 30
# How WebDriver names an element.
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    def __init__(self, driver: str, profile: str):
        self.session = driver
        options = {"args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = self.post("/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = f"{driver}/session/{made['sessionId']}"

    def post(self, path: str, body: dict):
        return self.ask(path, json.dumps(body).encode())

    def ask(self, path: str, body: bytes | None = None):
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(self.session + path, body, headers)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)["value"]

    def end(self):
        request = urllib.request.Request(self.session, method="DELETE")
        urllib.request.urlopen(request, timeout=PATIENCE_S).close()

    def script(self, text: str, *arguments):
        return self.post("/execute/sync", {"script": text, "args": list(arguments)})

    def wait_for(self, text: str, *arguments):
        """What `text` answers once that is something."""
        begun = time.monotonic()
        while time.monotonic() - begun < PATIENCE_S:
            found = self.script(text, *arguments)
            if found:
                return found
            time.sleep(0.05)
        raise SystemExit(f"waited in vain for {text} with {arguments}")

    def find(self, within: dict, selector: str) -> dict:
        how = {"using": "css selector", "value": selector}
        return self.post(f"/element/{within[ELEMENT]}/element", how)

    def click(self, element: dict):
        self.post(f"/element/{element[ELEMENT]}/click", {})

    def write(self, element: dict, text: str):
        self.post(f"/element/{element[ELEMENT]}/clear", {})
        self.post(f"/element/{element[ELEMENT]}/value", {"text": text})


ROUTE = """
  return [...document.querySelectorAll("#routes > details")].find((route) =>
    route.querySelector(".path").textContent === arguments[0]);
"""
ANSWERED = """
  const told = [...arguments[0].querySelectorAll("pre")].pop();
  return told.textContent.length > 1 && told.textContent;
"""


def asked(browser: Browser, path: str, selector: str, text: str) -> str:
    """Opens the route, writes into the field at `selector`, and presses its button."""
    route = browser.wait_for(ROUTE, path)
    browser.click(browser.find(route, "summary"))
    browser.write(browser.find(route, selector), text)
    browser.click(browser.find(route, "button"))
    return browser.wait_for(ANSWERED, route)


def visit(browser: Browser, job: str, screenshot: str | None):
    browser.post("/url", {"url": f"{job}/docs"})
    # They are all put there at once.
    count = 'return document.querySelectorAll("#routes > details").length;'
    print(json.dumps({"routes": browser.wait_for(count)}))
    symbol = "tr:first-child input"
    print(json.dumps({"recent": asked(browser, "/v1/trades/recent", symbol, "BTC-USDT")}))
    if screenshot:
        with open(screenshot, "wb") as file:
            file.write(base64.b64decode(browser.ask("/screenshot")))
    sql = json.dumps({"sql": "SELECT count(*) AS n FROM trades"})
    print(json.dumps({"sql": asked(browser, "/v1/sql", "textarea", sql)}))
    wrong = json.dumps({"sql": "DROP TABLE trades"})
    print(json.dumps({"wrong": asked_again(browser, "/v1/sql", wrong)}))
    complaints = browser.post("/se/log", {"type": "browser"})
    # A refusal is one too, and was asked for.
    complaints = [it["message"] for it in complaints if "400 (Bad Request)" not in it["message"]]
    print(json.dumps({"complaints": complaints}))


def asked_again(browser: Browser, path: str, text: str) -> str:
    route = browser.wait_for(ROUTE, path)
    before = browser.wait_for(ANSWERED, route)
    browser.write(browser.find(route, "textarea"), text)
    browser.click(browser.find(route, "button"))
    return browser.wait_for(
        'const told = [...arguments[0].querySelectorAll("pre")].pop().textContent;'
        "return told.length > 1 && told !== arguments[1] && told;", route, before)


def started() -> tuple[subprocess.Popen, str]:
    """A driver that listens, and its port. It asks for one port at two addresses, and gives up if
    the second has it taken by then."""
    for _ in range(5):
        driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
        for line in driver.stdout:
            listens = re.search(r"successfully on port (\d+)", line)
            if listens:
                return driver, listens[1]
        driver.wait()
    raise SystemExit("chromedriver did not start")


def main(job: str, screenshot: str | None = None):
    driver, port = started()
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            browser = Browser(f"http://127.0.0.1:{port}", profile)
            try:
                visit(browser, job, screenshot)
            finally:
                browser.end()
    finally:
        driver.terminate()
        driver.wait()

if __name__ == "__main__":
    main(*sys.argv[1:])
