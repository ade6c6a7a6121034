"""ComfyUI's page in a headless Chromium (Debian's packages chromium and chromium-driver)."""

import io
import shutil
import tempfile
import time
from collections.abc import Callable

from PIL import Image

START_TIMEOUT = 120  # seconds
RUN_TIMEOUT = 900
WINDOW = (2600, 1700)  # wide enough for a whole graph in its natural size
SWITCHES = (
    "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars"
).split()
READY = "return Boolean(window.app?.canvas && window.LiteGraph?.registered_node_types['StyleMambaStylize'])"


class Browser:
    """ComfyUI's page at ``address``; a context manager.

    Args:
        language: as in ComfyUI's settings, "en" or "zh".
    """

    def __init__(self, server, language: str = "en"):
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        self.server = server
        server.post("/settings", {"Comfy.Locale": language, "Comfy.TutorialCompleted": True})
        self.profile = tempfile.mkdtemp()
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for switch in (*SWITCHES, f"--window-size={WINDOW[0]},{WINDOW[1]}", f"--user-data-dir={self.profile}"):
            options.add_argument(switch)
        self.driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        self.driver.set_script_timeout(60)

    def __enter__(self) -> "Browser":
        self.driver.get(f"http://{self.server.address}/")
        self.wait(lambda: self.driver.execute_script(READY), START_TIMEOUT)
        time.sleep(2)  # the page's own default graph is loaded late
        return self

    def __exit__(self, *_) -> None:
        self.driver.quit()
        shutil.rmtree(self.profile, ignore_errors=True)

    def wait(self, condition: Callable[[], object], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError("the page did not get there")
            time.sleep(0.3)

    def run(self, script: str, *arguments):
        """The value of an asynchronous function's body in JavaScript."""
        body = f"const done = arguments[arguments.length - 1]; (async () => {{ {script} }})().then(done, error => done(String(error)))"
        return self.driver.execute_async_script(body, *arguments)

    def load(self, workflow: dict) -> None:
        """Opens a workflow in UI format."""
        self.run("await app.loadGraphData(arguments[0])", workflow)

    def prompt(self) -> dict:
        """The open workflow in API format, as the page makes it."""
        graph = self.run("return (await app.graphToPrompt()).output")
        return {key: {"class_type": node["class_type"], "inputs": node["inputs"]} for key, node in graph.items()}

    def queue(self) -> None:
        """Runs the open workflow, as the Run button does, to its end."""
        before = len(self.server.get("/history"))
        self.run("await app.queuePrompt(0)")
        self.wait(lambda: len(self.server.get("/history")) > before, RUN_TIMEOUT)
        time.sleep(2)  # for the last pictures to arrive

    def screenshot(self) -> Image.Image:
        return Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB")

    def picture_of(self, node_types: list[str], margin: int = 30) -> Image.Image:
        """The open graph around its nodes of these types, in its natural size."""
        box = self.run(
            """
            const [types, left, top] = arguments
            const boxes = app.graph._nodes.filter(node => types.includes(node.type)).map(node => node.getBounding())
            const x0 = Math.min(...boxes.map(b => b[0])), y0 = Math.min(...boxes.map(b => b[1]))
            const x1 = Math.max(...boxes.map(b => b[0] + b[2])), y1 = Math.max(...boxes.map(b => b[1] + b[3]))
            app.canvas.deselectAll?.()
            app.canvas.ds.scale = 1
            app.canvas.ds.offset = [left - x0, top - y0]
            app.canvas.setDirty(true, true)
            await new Promise(resolve => setTimeout(resolve, 1500))
            const canvas = app.canvas.canvas.getBoundingClientRect()
            return [canvas.left + left, canvas.top + top, x1 - x0, y1 - y0]
            """,
            node_types,
            120,
            120,
        )
        left, top, width, height = box
        return self.screenshot().crop((int(left) - margin, int(top) - margin, int(left + width) + margin, int(top + height) + margin))

    def show_help(self, node_type: str) -> None:
        """Opens the help page of the open graph's first node of a type with the button that appears above a node when it is clicked."""
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.by import By

        x, y = self.run(
            """
            const node = app.graph._nodes.find(node => node.type === arguments[0])
            app.canvas.ds.scale = 1
            app.canvas.ds.offset = [300 - node.pos[0], 300 - node.pos[1]]
            app.canvas.setDirty(true, true)
            await new Promise(resolve => setTimeout(resolve, 1000))
            const canvas = app.canvas.canvas.getBoundingClientRect()
            return [canvas.left + 300 + node.size[0] / 2, canvas.top + 300 - 15]
            """,
            node_type,
        )
        ActionChains(self.driver).move_by_offset(int(x), int(y)).click().perform()
        self.wait(lambda: self.driver.find_elements(By.CSS_SELECTOR, "[data-testid=info-button]"))
        self.driver.find_element(By.CSS_SELECTOR, "[data-testid=info-button]").click()
