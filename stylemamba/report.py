"""An evaluation as files: JSON and CSV for programs, and one HTML page that needs no other file."""

import base64
import csv
import html
import io
import json
from pathlib import Path

from PIL import Image

from .errors import StyleMambaError
from .evaluation import MEASURES, Evaluation
from .image_files import replacing

THUMBNAIL = 256  # px, the longer side of the page's pictures

# Measure -> heading, digits, and whether more or less is better (None: neither).
COLUMNS = {
    "clip_score": ("CLIP score", 2, "higher"),
    "clip_score_photo": ("CLIP score of the photo itself", 2, None),
    "ssim": ("SSIM", 3, "higher"),
    "content_loss": ("content loss", 2, "lower"),
    "judge_top1": ("judge: named first", 3, "higher"),
    "judge_top3": ("judge: among three", 3, "higher"),
    "seconds": ("seconds a picture", 3, "lower"),
}

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #888; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1500px; margin: 2rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
p, .soft { color: var(--soft); } .scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } th { font-weight: 600; vertical-align: bottom; white-space: normal; }
tr.all td { font-weight: 600; border-top: 2px solid var(--soft); } td small { color: var(--soft); }
.pictures td, .pictures th { border: 0; padding: 2px; text-align: center; font-weight: 400; vertical-align: top; white-space: normal; }
.pictures img { display: block; max-width: 256px; } .pictures th { font-size: .85rem; max-width: 256px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem; margin: 0; } dt { color: var(--soft); } dd { margin: 0; }
"""


def write_report(evaluation: Evaluation, folder: str | Path) -> list[Path]:
    """Writes ``report.json``, ``report.csv`` (one row a picture) and ``report.html`` into a folder, which is made; returns their paths.

    Raises:
        StyleMambaError: when the folder cannot be written.
    """
    folder = Path(folder)
    paths = [folder / f"report.{kind}" for kind in ("json", "csv", "html")]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in zip(paths, (_json(evaluation), _csv(evaluation), _html(evaluation))):
            with replacing(str(path)) as partial:
                partial.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise StyleMambaError(f"The report could not be written to {folder} ({error.strerror}); choose another folder with -o.") from error
    return paths


def as_dict(evaluation: Evaluation) -> dict:
    """What ``report.json`` holds."""
    return {
        "settings": evaluation.settings,
        "summary": evaluation.summary(),
        "pictures": evaluation.rows,
        "skipped": evaluation.skipped,
    }


def _json(evaluation: Evaluation) -> str:
    return json.dumps(as_dict(evaluation), ensure_ascii=False, indent=1) + "\n"


def _csv(evaluation: Evaluation) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["photo", "style", *MEASURES], lineterminator="\n")
    writer.writeheader()
    for row in evaluation.rows:
        writer.writerow({**row, **{key: _no_formula(row[key]) for key in ("photo", "style")}})
    return text.getvalue()


def _no_formula(text: str) -> str:
    """A spreadsheet computes what begins like a formula, and a style file's sentence may be a stranger's."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _html(evaluation: Evaluation) -> str:
    summary = evaluation.summary()
    measured = [measure for measure in MEASURES if summary[-1][measure]]
    rows = "".join(_row(row, measured) for row in summary[:-1]) + _row(summary[-1], measured, "all")  # which a style may be called as well
    count = len({row["photo"] for row in evaluation.rows})
    skipped = "".join(f"<li>{html.escape(path)}: {html.escape(reason)}</li>" for path, reason in evaluation.skipped.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>StyleMamba: evaluation</title><style>{STYLE}</style></head><body>
<h1>StyleMamba: evaluation</h1>
<p>{count} photos in {len(summary) - 1} styles. Means over pictures, with standard deviations.</p>
<div class="scroll"><table>{_heading(measured)}{rows}</table></div>
<h2>Pictures</h2><p>The first {len(evaluation.shown)} of {count} photos, scaled down to {THUMBNAIL} px for this page.</p>
<div class="scroll"><table class="pictures">{_pictures(evaluation, summary[:-1])}</table></div>
{f"<h2>Left out</h2><ul>{skipped}</ul>" if skipped else ""}
<h2>Settings</h2>{_settings(evaluation.settings)}
</body></html>
"""


def _heading(measured: list[str]) -> str:
    arrows = {"higher": " ↑", "lower": " ↓", None: ""}
    cells = "".join(f"<th>{COLUMNS[measure][0]}{arrows[COLUMNS[measure][2]]}</th>" for measure in measured)
    return f"<tr><th>style</th><th>pictures</th>{cells}</tr>"


def _row(row: dict, measured: list[str], kind: str = "") -> str:
    cells = ""
    for measure in measured:
        found, digits = row[measure], COLUMNS[measure][1]
        cells += f"<td>{found['mean']:.{digits}f} <small>± {found['deviation']:.{digits}f}</small></td>" if found else "<td>–</td>"
    return f'<tr class="{kind}"><td>{html.escape(row["style"])}</td><td>{row["pictures"]}</td>{cells}</tr>'


def _pictures(evaluation: Evaluation, styles: list[dict]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ["photo", *(row["style"] for row in styles)])
    rows = ""
    for name, photo, made in evaluation.shown:
        cells = "".join(f'<td><img alt="{html.escape(name)}" src="{_data_uri(picture)}"></td>' for picture in (photo, *made))
        rows += f"<tr>{cells}</tr>"
    return f"<tr>{head}</tr>{rows}"


def _data_uri(picture: Image.Image) -> str:
    small, file = picture.copy(), io.BytesIO()
    small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    small.save(file, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _settings(settings) -> str:
    if isinstance(settings, dict):
        entries = "".join(f"<dt>{html.escape(str(key))}</dt><dd>{_settings(value)}</dd>" for key, value in settings.items())
        return f"<dl>{entries}</dl>"
    if isinstance(settings, list):
        return html.escape(" · ".join(map(str, settings)))
    return html.escape(f"{settings:.4g}" if isinstance(settings, float) else str(settings))
