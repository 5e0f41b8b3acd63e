# SPDX-License-Identifier: Apache-2.0
"""The dashboard in a headless Chromium, with programs at work on the cpu backend: what it shows is what the mediator says,
an admin's buttons do what they say after a confirmation, a viewer has none. Screenshots stay in screenshots/ of the build
folder. A browser has no unix sockets, so a forwarder stands between, as `ssh -L` does for an operator."""
import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest
import stack

sys.path.insert(0, str(stack.SOURCE / "tests" / "integration"))
import api  # noqa: E402

try:
    from selenium import webdriver
    from selenium.webdriver.common.by import By
    from selenium.webdriver.chrome.service import Service
except ImportError:
    webdriver = None

SCREENSHOTS = stack.BUILD / "screenshots"
DRIVER, BROWSER = shutil.which("chromedriver"), shutil.which("chromium")
PATIENCE_S = 30 * stack.SLOWER

pytestmark = [
    pytest.mark.skipif(not (webdriver and DRIVER and BROWSER), reason="no chromium, chromedriver or python3-selenium"),
    pytest.mark.skipif(bool(os.environ.get("VGPU_SANITIZE")), reason="the page is the same with sanitizers, and its API has tests of its own"),
]


def pump(a, b):
    with contextlib.suppress(OSError):
        while data := a.recv(65536):
            b.sendall(data)
    for s in (a, b):
        with contextlib.suppress(OSError):
            s.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def forwarded(path):
    """A port of this host that leads to the unix socket."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        def serve():
            while True:
                try:
                    one, _ = server.accept()
                except OSError:
                    return
                other = socket.socket(socket.AF_UNIX)
                try:
                    other.connect(path)
                except OSError:
                    one.close()
                    continue
                for pair in ((one, other), (other, one)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()
        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


class Page:
    def __init__(self, folder, url, *options):
        arguments = webdriver.ChromeOptions()
        arguments.binary_location = BROWSER
        for option in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1400,1500",
                       f"--user-data-dir={folder}/browser", *options):
            arguments.add_argument(option)
        arguments.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.browser = webdriver.Chrome(service=Service(DRIVER), options=arguments)
        self.browser.set_page_load_timeout(60 * stack.SLOWER)
        self.browser.get(url)

    def wait(self, condition, what):
        until, value = time.monotonic() + PATIENCE_S, None
        while not value:
            assert time.monotonic() < until, f"{what}; the page says:\n{self.text('body')}\n{self.console()}"
            with contextlib.suppress(Exception):  # an element was made anew meanwhile
                value = condition()
            time.sleep(0.1)
        return value

    def all(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector):
        """At one moment, since the page changes all the time."""
        return self.browser.execute_script("return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText)", selector)

    def text(self, selector):
        return "\n".join(self.texts(selector))

    def press(self, selector, label):
        """The button with that label below what the selector finds, when it is there."""
        def pressed():
            button, = (b for b in self.all(f"{selector} button") if b.text == label)
            button.click()
            return True
        self.wait(pressed, f"no button {label} in {selector}")

    def fill(self, name, value):
        # As somebody types; the dialog is not made anew.
        field = self.browser.find_element(By.CSS_SELECTOR, f"dialog [name={name}]")
        if field.tag_name == "select":
            next(o for o in field.find_elements(By.TAG_NAME, "option") if o.get_attribute("value") == value).click()
        else:
            field.clear()
            field.send_keys(value)

    def dialog_is_closed(self):
        return not self.browser.execute_script("return document.getElementById('dialog').open")

    def picture(self, name):
        SCREENSHOTS.mkdir(exist_ok=True)
        self.browser.save_screenshot(str(SCREENSHOTS / f"{name}.png"))

    def console(self):
        return [line for line in self.browser.get_log("browser") if line["level"] in ("SEVERE", "WARNING")]

    def quit(self):
        self.browser.quit()


@pytest.fixture
def mediator():
    reason = stack.backend_missing("cpu")
    if reason:
        pytest.skip(reason)
    with stack.Mediator("cpu") as m:
        clients = [m.client(stack.WORKLOAD, "--seconds", "600", options=["--name", name, "--weight", str(weight), "--memory", "512M"])
                   for name, weight in (("four", 400), ("one", 100))]
        yield m
        for client in clients:
            client.close()


@contextlib.contextmanager
def page_of(url, folder, *options):
    page = Page(folder, url, *options)
    try:
        yield page
    finally:
        page.quit()


@pytest.fixture
def socket_path(mediator):
    return os.path.join(mediator.folder, "run", "api.sock")


def cells(page, tenant):
    """Of the row with that name in its first cell."""
    rows = page.browser.execute_script("return [...document.querySelectorAll('#tenants tbody tr')].map((r) => [...r.cells].map((c) => c.innerText))")
    return next((row for row in rows if row[0] == tenant), None)



def achieved(page, tenant):
    return float(cells(page, tenant)[3].split()[0])


def test_it_shows_what_the_mediator_says(mediator, socket_path, tmp_path):
    with forwarded(socket_path) as port, page_of(f"http://127.0.0.1:{port}/", tmp_path) as page:
        page.wait(lambda: achieved(page, "four") > achieved(page, "one") > 0 and "working" in cells(page, "four")[8], "tenants do not work")
        page.wait(lambda: page.text("#link") == "live", "not live")
        with api.Api(api.UnixConnection(socket_path)) as a:
            status, gpu = a.get("/v1/status"), a.get("/v1/gpus")["gpus"][0]
        assert gpu["gpu"] in page.text("#gpus") and gpu["name"] in page.text("#gpus") and "healthy" in page.text("#gpus")
        assert status["device"] in page.text("#backend") and "(admin)" in page.text("#who")
        assert cells(page, "four")[1:3] == ["default", "400"] and "of 512 MiB" in cells(page, "four")[4]
        # Shares of the last minutes as two lines for each tenant that worked, and how long launches waited.
        page.wait(lambda: len(page.all("#plot path")) >= 4, "no lines in the plot")
        assert "four" in page.text("#plot .legend") and "one" in page.text("#plot .legend")
        page.wait(lambda: "/" in cells(page, "four")[5], "no latency")
        page.wait(lambda: "tenant.came" in page.text("#events"), "no events")
        page.picture("dashboard")
        # What happens is told without asking.
        before = len(page.all("#events li"))
        late = mediator.client(stack.PROGRAMS / "worker", "turns", "3", options=["--name", "late"])
        page.wait(lambda: len(page.all("#events li")) > before and "late" in page.text("#events"), "no news")
        late.close()
        assert page.console() == []


def test_weights_change_after_a_confirmation(socket_path, tmp_path):
    with forwarded(socket_path) as port, page_of(f"http://127.0.0.1:{port}/", tmp_path) as page, \
            api.Api(api.UnixConnection(socket_path)) as a:
        def weight():
            return {t["name"]: t["weight"] for t in a.get("/v1/status")["tenants"]}["one"]
        page.wait(lambda: cells(page, "one"), "no tenants")
        number, = (t["tenant"] for t in a.get("/v1/status")["tenants"] if t["name"] == "one")
        one = f"#tenants tr[data-tenant='{number}']"
        page.press(one, "Weight")
        page.fill("weight", "300")
        page.picture("weight")
        page.press("dialog", "Cancel")
        page.wait(page.dialog_is_closed, "the dialog stays")
        assert weight() == 100
        page.press(one, "Weight")
        page.fill("weight", "300")
        page.press("dialog", "Change weight")
        page.wait(page.dialog_is_closed, "the dialog stays")
        assert weight() == 300
        page.wait(lambda: cells(page, "one")[2] == "300", "the table shows the old weight")
        assert page.console() == []


def test_a_vgpu_is_assigned_and_released(socket_path, tmp_path):
    uuid = "3d9d0f4a-0000-4000-8000-000000000001"
    with forwarded(socket_path) as port, page_of(f"http://127.0.0.1:{port}/", tmp_path) as page, \
            api.Api(api.UnixConnection(socket_path)) as a:
        a.do("POST", "/v1/profiles", {"profile": "small", "memory": "256M"})
        a.do("POST", "/v1/vms", {"vm": uuid, "name": "web"})
        vgpu = a.do("POST", "/v1/vgpus", {"profile": "small"})["vgpu"]
        row = f"#vgpus tr[data-vgpu='{vgpu}']"
        page.wait(lambda: "free" in page.text(row), "no free vGPU")
        page.press(row, "Assign")
        page.fill("vm", uuid)
        page.press("dialog", "Assign")
        page.wait(lambda: "web" in page.text(row), "not assigned")
        assert a.get(f"/v1/vgpus/{vgpu}")["vm"] == uuid
        page.wait(lambda: cells(page, "web"), "the VM is no tenant")
        page.press(row, "Protocol")
        page.fill("protocol", "cuda")
        page.press("dialog", "Change protocol")
        page.wait(page.dialog_is_closed, "the dialog stays")
        vm = a.get(f"/v1/vms/{uuid}")
        assert (vm["protocol"], vm["by_hand"]) == ("cuda", ["protocol"])
        page.wait(lambda: "custom" in page.text(row) and "cuda" in page.text(row), "personality or protocol is not shown")
        page.picture("vgpus")
        tenant = f"#tenants tr[data-tenant='{a.get(f'/v1/vms/{uuid}')['tenant']}']"
        page.press(tenant, "Quarantine")
        page.press("dialog", "Quarantine")
        page.wait(lambda: "quarantine" in cells(page, "web")[8], "no quarantine")
        assert [q["name"] for q in a.get("/v1/quarantines")["tenants"]] == ["web"]
        page.press(tenant, "Release")
        page.press("dialog", "Release")
        page.wait(lambda: a.get("/v1/quarantines")["tenants"] == [], "not released")
        page.press(row, "Release")
        page.press("dialog", "Release")
        page.wait(lambda: "free" in page.text(row), "not released")
        assert a.get(f"/v1/vgpus/{vgpu}")["vm"] is None and page.console() == []


def test_a_viewer_with_a_token_has_no_buttons(tmp_path):
    """Over TLS, as from another machine: the page asks for a token, and shows all to a viewer but nothing to press."""
    key, certificate, tokens = tmp_path / "key", tmp_path / "certificate", tmp_path / "tokens"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    tokens.write_text(f"viewer {hashlib.sha256(b'a-word').hexdigest()} screen\n")
    for secret in (key, tokens):
        secret.chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = [f"api.listen=127.0.0.1:{port}", f"api.certificate={certificate}", f"api.key={key}", f"api.tokens={tokens}"]
    with stack.Mediator("null", settings), \
            page_of(f"https://127.0.0.1:{port}/", tmp_path, "--ignore-certificate-errors") as page:
        page.wait(lambda: not page.dialog_is_closed(), "no question for a token")
        page.fill("token", "wrong")
        page.press("dialog", "Go on")
        page.wait(lambda: "token" in page.text("dialog .problem"), "a wrong token is taken")
        page.fill("token", "a-word")
        page.press("dialog", "Go on")
        page.wait(lambda: page.text("#link") == "live", "not live")
        assert "screen" in page.text("#who") and "(viewer)" in page.text("#who")
        assert page.all("main button") == []
        page.picture("viewer")
        # Chromium itself reports each answer of 401; there is nothing else.
        assert all("401" in line["message"] for line in page.console())
