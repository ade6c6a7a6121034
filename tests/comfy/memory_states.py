"""One node under ComfyUI's memory manager in each of its states, on the CPU: ``python memory_states.py CHECKOUT PACK MODELS``.

ComfyUI refuses --lowvram together with --cpu. Here the CPU plays a graphics card with almost no memory: the model manager believes that
loading and offloading are between two devices, and loads in part or not at all where its state says so. Prints each state with the largest
difference of its picture to that of the normal state, and how many models are left after unloading.
"""

import importlib.util
import sys
from pathlib import Path

checkout, pack_folder, models = (Path(argument) for argument in sys.argv[1:])
sys.argv = sys.argv[:1]
sys.path.insert(0, str(checkout))

from comfy.cli_args import args  # noqa: E402

args.cpu = True

import folder_paths  # noqa: E402
import torch  # noqa: E402
from comfy import model_management  # noqa: E402

folder_paths.models_dir = str(models)
CARD, RAM = torch.device("cpu", 0), torch.device("cpu")
model_management.get_torch_device = lambda: CARD
model_management.is_device_cpu = lambda device: False
FREE = 4 * 1024**2
model_management.get_free_memory = lambda device=None, torch_free_too=False: (FREE, FREE) if torch_free_too else FREE

spec = importlib.util.spec_from_file_location("custom_nodes/StyleMamba", pack_folder / "__init__.py")
sys.modules[spec.name] = pack = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pack)
nodes = sys.modules[f"{spec.name}.nodes"]

pictures = {}
with torch.inference_mode():
    model = nodes.load.bundled_model()
    photo = torch.rand(1, 50, 70, 3, generator=torch.Generator().manual_seed(0))
    for state in ("NORMAL_VRAM", "LOW_VRAM", "NO_VRAM", "HIGH_VRAM"):
        model_management.vram_state = model_management.VRAMState[state]
        pictures[state] = nodes.StyleMambaStylize.execute(photo, "fire", 1.0, model=model)[0]
        assert any(loaded.model is model.patcher for loaded in model_management.current_loaded_models)
        difference = (pictures[state] - pictures["NORMAL_VRAM"]).abs().max().item()
        model_management.unload_all_models()
        left = len(model_management.current_loaded_models)
        print(f"{state} difference {difference:.6f} still loaded {left}")
