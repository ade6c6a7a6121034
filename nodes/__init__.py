"""StyleMamba's ComfyUI nodes: thin, one module for each thing they do."""

from comfy_api.v0_0_2 import ComfyExtension, io

from .folder import StyleMambaLoadFolder
from .load import StyleMambaLoadModel, StyleMambaLoadParts, StyleMambaLoadStyle, StyleMambaSaveStyle
from .model_folder import register_model_folder
from .served_files import serve_where_comfyui_does_not
from .styles import StyleMambaBlendStyles, StyleMambaStyleEmbedding
from .stylize import StyleMambaDecode, StyleMambaFusion, StyleMambaStylize, StyleMambaVAEEncode
from .train import StyleMambaTrain


class StyleMambaExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            StyleMambaStylize,
            StyleMambaLoadModel,
            StyleMambaLoadParts,
            StyleMambaVAEEncode,
            StyleMambaStyleEmbedding,
            StyleMambaFusion,
            StyleMambaDecode,
            StyleMambaTrain,
            StyleMambaBlendStyles,
            StyleMambaSaveStyle,
            StyleMambaLoadStyle,
            StyleMambaLoadFolder,
        ]


async def comfy_entrypoint() -> ComfyExtension:
    register_model_folder()
    serve_where_comfyui_does_not()
    return StyleMambaExtension()
