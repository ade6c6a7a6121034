"""What a user sees of the pack in ComfyUI's own page, in a real browser.

Needs what test_comfyui.py needs, and Debian's chromium and chromium-driver.
"""

import json
import shutil

import pytest
from comfy_graphs import API, NAMES
from comfy_server import PACK


@pytest.fixture(scope="module")
def browser(server):
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("needs chromium and chromedriver")
    from comfy_browser import Browser

    with Browser(server) as browser:
        yield browser


@pytest.mark.parametrize("name", NAMES)
def test_workflow_opens_as_the_graph_that_programs_post(browser, name):
    browser.load(json.loads((PACK / "workflows" / f"{name}.json").read_text(encoding="utf-8")))
    assert browser.prompt() == json.loads((API / f"{name}.json").read_text(encoding="utf-8"))
    assert browser.run("return app.graph._nodes.filter(node => node.has_errors || !LiteGraph.registered_node_types[node.type]).length") == 0


def test_run_button_leaves_a_preview_in_the_node(browser):
    browser.load(json.loads((PACK / "workflows" / "stylize_in_one_node.json").read_text(encoding="utf-8")))
    browser.queue()
    sizes = browser.run("return app.graph._nodes.map(node => [node.type, node.imgs?.[0]?.naturalWidth ?? 0])")
    assert all(width > 0 for node_type, width in sizes if node_type in ("StyleMambaStylize", "SaveImage"))


@pytest.mark.parametrize(("language", "title", "text"), [("en", "Train on Style", "Cancel stops after"), ("zh", "训练风格", "取消")])
def test_names_and_help_in_both_languages(server, browser, language, title, text):
    from comfy_browser import Browser

    with Browser(server, language) as page:
        page.load(json.loads((PACK / "workflows" / "train_a_style_and_save_it.json").read_text(encoding="utf-8")))
        assert title in page.run("return app.graph._nodes.map(node => node.title)")
        page.show_help("StyleMambaTrain")
        page.wait(lambda: text in page.driver.page_source)
        page.wait(
            lambda: page.run(
                "return [...document.images].some(image => image.src.includes('StyleMambaTrain.jpg') && image.naturalWidth > 0)"
            )
        )
        page.screenshot().save(server.base / f"help_{language}.png")
