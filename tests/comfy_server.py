"""A real ComfyUI server with this pack in its custom_nodes, in a folder of its own: the checkout stays untouched."""

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path

from PIL import Image
from synthetic import synthetic_photo

PACK = Path(__file__).parents[1]
PACK_FOLDER = "ComfyUI-StyleMamba"
START_TIMEOUT = 300  # seconds
RUN_TIMEOUT = 300


class ExecutionFailed(Exception):
    """What ComfyUI told the user: ``node_errors`` of a refused prompt, or the failing node's message."""


class ComfyServer:
    """Starts ComfyUI on the CPU with ``base`` as its base directory; a context manager.

    Args:
        checkout: the folder of ComfyUI's main.py.
        base: an empty folder for models, input and output.
        python: an interpreter with ComfyUI's requirements.
        pack_folder: the name of this pack's folder in custom_nodes.
        options: more of ComfyUI's options.
    """

    def __init__(
        self, checkout: Path, base: Path, python: str = sys.executable, pack_folder: str = PACK_FOLDER, options: tuple[str, ...] = ()
    ):
        self.checkout, self.base, self.python, self.options = Path(checkout), Path(base), python, options
        self.requests: list[bytes] = []  # what ComfyUI, and so the pack, wanted from other machines
        for folder in ("custom_nodes", "models/stylemamba", "input", "output", "temp", "user"):
            (self.base / folder).mkdir(parents=True)
        (self.base / "custom_nodes" / pack_folder).symlink_to(PACK, target_is_directory=True)
        # A pack that claims common names for itself, as some do.
        greedy = self.base / "custom_nodes" / "another-pack"
        greedy.mkdir()
        (greedy / "__init__.py").write_text("import os, sys\nsys.path.insert(0, os.path.dirname(__file__))\nNODE_CLASS_MAPPINGS = {}\n")
        for module in ("nodes", "utils", "stylemamba"):
            (greedy / f"{module}.py").write_text("raise ImportError('the wrong module')\n")
        # ComfyUI's own example.png is what the workflows name; any photo of that name will do.
        synthetic_photo(200, 136).save(self.base / "input" / "example.png")

    def __enter__(self) -> "ComfyServer":
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.trap = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._note_requests, daemon=True).start()
        proxy = f"http://127.0.0.1:{self.trap.getsockname()[1]}"
        self.log_file = open(self.base / "log.txt", "w+")
        port = self.address.rpartition(":")[2]
        options = [
            "--cpu",
            "--listen",
            "127.0.0.1",
            "--port",
            port,
            "--base-directory",
            str(self.base),
            "--database-url",
            "sqlite:///:memory:",
            *self.options,
        ]
        self.process = subprocess.Popen(
            [self.python, "main.py", *options],
            cwd=self.checkout,
            stdout=self.log_file,
            stderr=subprocess.STDOUT,
            env={
                **{name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"},
                **{name: proxy for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy")},
                "NO_PROXY": "127.0.0.1",
            },
        )
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            with contextlib.suppress(OSError):
                self.get("/system_stats")
                return self
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError(f"ComfyUI did not start:\n{self.log()}")
            time.sleep(0.5)

    def __exit__(self, *_) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log_file.close()
        self.trap.close()

    def _note_requests(self) -> None:
        """Refuses every request that goes through the proxy, and remembers it."""
        with contextlib.suppress(OSError):  # the trap was closed
            while True:
                connection, _ = self.trap.accept()
                with connection:
                    connection.settimeout(5)
                    with contextlib.suppress(OSError):
                        self.requests.append(connection.recv(4096))

    def log(self) -> str:
        return (self.base / "log.txt").read_text()

    def get(self, path: str):
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=60) as reply:
            body = reply.read()
        return json.loads(body) if reply.headers.get_content_type() == "application/json" else body

    def post(self, path: str, body: dict):
        request = urllib.request.Request(f"http://{self.address}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return json.loads(reply.read() or "null")
        except urllib.error.HTTPError as error:
            raise ExecutionFailed(error.read().decode()) from None

    def queue(self, graph: dict, client: str | None = None) -> str:
        """Queues a graph in API format; the prompt's id."""
        return self.post("/prompt", {"prompt": graph, "client_id": client or uuid.uuid4().hex})["prompt_id"]

    @contextlib.contextmanager
    def listening(self):
        """As the browser does; gives a client's id, and a function that waits for the next message: a dict, or a preview's bytes."""
        import websocket  # comes with selenium

        client = uuid.uuid4().hex
        with contextlib.closing(websocket.create_connection(f"ws://{self.address}/ws?clientId={client}", timeout=RUN_TIMEOUT)) as wire:

            def receive() -> dict | bytes:
                message = wire.recv()
                return json.loads(message) if isinstance(message, str) else message

            yield client, receive

    def wait(self, prompt_id: str) -> dict:
        """The finished prompt's history entry.

        Raises:
            ExecutionFailed: with the failing node's message.
        """
        deadline = time.monotonic() + RUN_TIMEOUT
        while time.monotonic() < deadline:
            entry = self.get(f"/history/{prompt_id}").get(prompt_id)
            if entry is not None:
                for event, data in entry["status"]["messages"]:
                    if event == "execution_error":
                        raise ExecutionFailed(f"{data['exception_type']}: {data['exception_message']}")
                    if event == "execution_interrupted":
                        raise ExecutionFailed("interrupted")
                return entry
            time.sleep(0.1)
        raise TimeoutError(f"ComfyUI did not finish:\n{self.log()}")

    def run(self, graph: dict) -> dict[str, list[Image.Image]]:
        """Runs a graph; the pictures of each output node by its id."""
        outputs = self.wait(self.queue(graph))["outputs"]
        return {node: [self.picture(image) for image in result["images"]] for node, result in outputs.items() if "images" in result}

    def picture(self, image: dict) -> Image.Image:
        picture = Image.open(io.BytesIO(self.get("/view?" + urllib.parse.urlencode(image))))
        picture.load()
        return picture

    def executed(self, prompt_id: str) -> set[str]:
        """The ids of the nodes that a finished prompt really executed, rather than took from the cache."""
        messages = dict(self.wait(prompt_id)["status"]["messages"])
        graph = self.get(f"/history/{prompt_id}")[prompt_id]["prompt"][2]
        return set(graph) - set(messages.get("execution_cached", {}).get("nodes", []))
